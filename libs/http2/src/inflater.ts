import { availableParallelism } from "node:os";
import { gunzip } from "node:zlib";
import { type Failure, failure } from "./status.ts";

/** A processor is left to the event loop; and Node has no more threads than four. */
const PARALLEL = Math.min(4, Math.max(1, availableParallelism() - 1));
const CHUNK_BYTES = 65_536;

type Done = (refusal: Failure | null, bytes: Uint8Array) => void;

/** Inflates gzip messages beside the event loop, some at a time, none beyond a limit. */
export class Inflater {
  readonly #bytesMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Calls `done` with the message, or with why there is none; skips the work when `isWanted` says no by then. */
  inflate(bytes: Uint8Array, isWanted: () => boolean, done: Done): void {
    this.#waiting.push(() => {
      if (!isWanted()) return;
      this.#running += 1;
      gunzip(bytes, { maxOutputLength: this.#bytesMax, chunkSize: CHUNK_BYTES }, (error, inflated) => {
        this.#running -= 1;
        done(error === null ? null : this.#toFailure(error), inflated);
        this.#next();
      });
    });
    this.#next();
  }

  #next(): void {
    while (this.#running < PARALLEL) {
      const start = this.#waiting.shift();
      if (start === undefined) return;
      start();
    }
  }

  #toFailure(error: Error & { readonly code?: string }): Failure {
    return error.code === "ERR_BUFFER_TOO_LARGE"
      ? failure("resourceExhausted", `the message inflates to more than ${this.#bytesMax} bytes`)
      : failure("internal", "the message is no gzip");
  }
}
