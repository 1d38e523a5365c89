/** The model is none that compiles to exactly what it means; the message says what stands in the way. */
export class Unsupported extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "Unsupported";
  }
}
