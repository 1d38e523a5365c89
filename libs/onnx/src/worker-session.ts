import { Worker } from "node:worker_threads";
import { copyInPieces } from "./copy-in-pieces.ts";
import type { Session, SessionOptions } from "./session.ts";
import { buffersOf, type Value } from "./value.ts";
import type { WorkerReply, WorkerRequest, WorkerStart } from "./worker.ts";

/** The thread of a model ended by itself. The model answers no more; load it anew. */
export class ModelFailed extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(`the model's thread ended: ${reason}`, options);
    this.name = "ModelFailed";
  }
}

interface Waiting {
  readonly resolve: (values: Record<string, Value>) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Loads a model in a thread of its own. The bytes and the values of a run are copied once, the results not at all.
 * `onFailed` is called once when the thread of a loaded model ends by itself. Throws an Error as `openSession` does.
 */
export async function openInWorker(
  bytes: Uint8Array,
  options: SessionOptions,
  onFailed: (error: ModelFailed) => void,
): Promise<Session> {
  const copy = await copyInPieces(bytes);
  const start: WorkerStart = { bytes: copy, options };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: start,
    transferList: [copy.buffer],
  });
  const waiting = new Map<number, Waiting>();
  let runs = 0;
  let failed: ModelFailed | null = null;
  let isLoaded = false;
  let isEnding = false;
  const ended = Promise.withResolvers<void>();
  const loaded = Promise.withResolvers<Extract<WorkerReply, { kind: "loaded" }>>();

  const fail = (reason: string, cause?: unknown): void => {
    if (failed !== null || isEnding) return;
    failed = new ModelFailed(reason, { cause });
    for (const { reject } of waiting.values()) reject(failed);
    waiting.clear();
    loaded.reject(failed);
    if (isLoaded) onFailed(failed);
  };
  worker.on("message", (message: WorkerReply) => {
    if (message.kind === "loaded") loaded.resolve(message);
    else if (message.kind === "refused") {
      isEnding = true;
      loaded.reject(new Error(message.reason));
    } else {
      const run = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.kind === "ran") run?.resolve(message.values);
      else run?.reject(new Error(message.reason));
    }
  });
  worker.on("messageerror", (error) => fail(error.message, error));
  worker.on("error", (error) => fail(error instanceof Error ? error.message : String(error), error));
  worker.on("exit", (code) => {
    fail(`exit code ${code}`);
    ended.resolve();
  });

  const { provider, providersFailed } = await loaded.promise;
  isLoaded = true;
  return {
    provider,
    providersFailed,
    run(values, outputs) {
      if (failed !== null) return Promise.reject(failed);
      const id = runs++;
      const own = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, owned(value)]));
      const run = Promise.withResolvers<Record<string, Value>>();
      waiting.set(id, run);
      worker.postMessage({ id, values: own, outputs } satisfies WorkerRequest, buffersOf(Object.values(own)));
      return run.promise;
    },
    async release() {
      isEnding = true;
      worker.postMessage(null satisfies WorkerRequest);
      await ended.promise;
    },
  };
}

/** A clone would copy all of the buffer that a view looks into. */
function owned(value: Value): Value {
  return ArrayBuffer.isView(value.data) ? { ...value, data: value.data.slice() } : value;
}
