/**
 * The model cannot generate: one of its tensors, or what its metadata says, is not a language model's. What is wrong
 * with a request is a ProtocolError.
 */
export class GenerationError extends Error {
  override readonly name = "GenerationError";
  /** The tensor, or the key of the metadata. */
  readonly field: string;

  constructor(field: string, what: string, options?: ErrorOptions) {
    super(`${field}: ${what}`, options);
    this.field = field;
  }
}
