import { Worker } from "node:worker_threads";
import { hasTrees, type ModelSignature } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import type { BackgroundReply, BackgroundRequest } from "./background-worker.ts";
import { checkModel } from "./check-model.ts";
import type { Outcome } from "./compile.ts";
import { copyInPieces } from "./copy-in-pieces.ts";
import type { SessionOptions } from "./session.ts";

/** Trees of more bytes take milliseconds: measured 13 ms per megabyte to inspect, 15 to open in onnxruntime. */
const QUICK_TREES_BYTES = 128 * 2 ** 10;
/** Larger models are left to onnxruntime: while they are compiled, they take some 40 times their bytes of memory. */
const COMPILED_BYTES_MAX = 16 * 2 ** 20;
/** Swaps come in bursts: to start the thread and warm it up costs several times what it then does for a model. */
const IDLE_MS = 10_000;
/** A decoded model is short-lived: V8 would let 100 MB more of it lie around. */
const YOUNG_MB = 32;

/**
 * What is done with a model before it runs and would hold up the calling thread, in a thread of low priority. That
 * thread starts with the first model, ends when there was none for a while, and does not keep the process from ending
 * when it has nothing to do.
 */
export interface Background {
  /** As `checkModel`; here, where that takes no more than a millisecond or two. */
  inspect(bytes: Uint8Array): Promise<ModelSignature>;
  /** As `compileModel`; that a model is refused, or that the thread ended by itself, is a reason not to compile. */
  compile(
    bytes: Uint8Array,
    options: SessionOptions,
    samples: readonly (readonly Tensor[])[],
  ): Promise<Outcome>;
}

export function createBackground(idleMs: number = IDLE_MS): Background {
  let thread: Thread | null = null;
  const run = async (bytes: Uint8Array, compile: BackgroundRequest["compile"]): Promise<Outcome> => {
    const copy = await copyInPieces(bytes);
    thread ??= startThread(idleMs, (ended) => {
      if (thread === ended) thread = null;
    });
    return thread.run(copy, compile);
  };
  return {
    async inspect(bytes) {
      const { signature } = areManyTrees(bytes) ? await run(bytes, null) : { signature: null };
      // Why it is refused is said here.
      return signature ?? checkModel(bytes);
    },
    async compile(bytes, options, samples) {
      const notCompiled = whyNot(bytes, options);
      if (notCompiled !== null) return { signature: null, notCompiled };
      return run(bytes, { options, samples: samples.map((inputs) => inputs.map(owned)) });
    },
  };
}

/** One for the process: a thread per model would take several times the processor time. */
export const background: Background = createBackground();

/** Whether a model has trees, and more bytes of them than are inspected or opened in a millisecond or two. */
export const areManyTrees = (bytes: Uint8Array): boolean =>
  bytes.byteLength > QUICK_TREES_BYTES && hasTrees(bytes);

function whyNot(bytes: Uint8Array, { providers: [first] }: SessionOptions): string | null {
  if (first !== "cpu") return `it is for ${first}`;
  if (bytes.byteLength > COMPILED_BYTES_MAX) return `it has more than ${COMPILED_BYTES_MAX} bytes`;
  return hasTrees(bytes) ? null : "there is no tree operator";
}

interface Thread {
  run(bytes: Uint8Array<ArrayBuffer>, compile: BackgroundRequest["compile"]): Promise<Outcome>;
}

/** `onEnd` is called before the thread takes no more requests. */
function startThread(idleMs: number, onEnd: (thread: Thread) => void): Thread {
  const worker = new Worker(new URL("./background-worker.ts", import.meta.url), {
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  });
  const waiting = new Map<number, (outcome: Outcome) => void>();
  let requests = 0;
  let idle: NodeJS.Timeout | undefined;

  const thread: Thread = {
    run(bytes, compile) {
      clearTimeout(idle);
      worker.ref();
      const outcome = Promise.withResolvers<Outcome>();
      const id = requests++;
      waiting.set(id, outcome.resolve);
      worker.postMessage({ id, bytes, compile } satisfies BackgroundRequest, [bytes.buffer]);
      return outcome.promise;
    },
  };
  const end = (): void => {
    onEnd(thread);
    worker.postMessage(null);
  };
  const fail = (reason: string): void => {
    onEnd(thread);
    clearTimeout(idle);
    const notCompiled = `the background thread ended: ${reason}`;
    for (const resolve of waiting.values()) resolve({ signature: null, notCompiled });
    waiting.clear();
  };
  worker.on("message", ({ id, outcome }: BackgroundReply) => {
    waiting.get(id)?.(outcome);
    waiting.delete(id);
    if (waiting.size > 0) return;
    worker.unref();
    idle = setTimeout(end, idleMs).unref();
  });
  worker.on("error", (error) => fail(error instanceof Error ? error.message : String(error)));
  worker.on("exit", (code) => fail(`exit code ${code}`));
  return thread;
}

/** A clone would copy all of the buffer that a view looks into. */
const owned = (tensor: Tensor): Tensor => ({ ...tensor, data: tensor.data.slice() });
