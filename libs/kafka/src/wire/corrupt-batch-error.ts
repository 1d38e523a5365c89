/** The bytes of a record batch are not what was written: broken on the way, or on the broker's disk. */
export class CorruptBatchError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CorruptBatchError";
  }
}
