/** The run cannot succeed, however often it is tried. The message is a sentence for people. */
export class RunFailed extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = "RunFailed";
  }
}
