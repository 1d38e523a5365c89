import { BatchBuilder } from "./wire/batch-builder.ts";

/** Kept: with about a megabyte each, what a busy process has under way. */
const KEPT_MAX = 8;

/** Batch builders that are used again, so that their buffers need not be made for each batch. */
export class BuilderPool {
  readonly #free: BatchBuilder[] = [];

  take(): BatchBuilder {
    return this.#free.pop() ?? new BatchBuilder();
  }

  /** Nothing may use the builder's bytes any more. */
  give(builder: BatchBuilder): void {
    if (this.#free.length >= KEPT_MAX) return;
    builder.clear();
    this.#free.push(builder);
  }
}
