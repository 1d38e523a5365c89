import type { ModelSignature } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import { areManyTrees, background } from "./background.ts";
import { checkModel, ModelRefused } from "./check-model.ts";
import type { Model } from "./model.ts";
import type { Provider } from "./provider.ts";
import { smallestSample } from "./samples.ts";
import { openSession, runTensors, type Session, type SessionOptions } from "./session.ts";
import { sessionModel } from "./session-model.ts";
import { treesModel } from "./trees-model.ts";
import { type ModelFailed, openInWorker } from "./worker-session.ts";

export interface LoadOptions {
  /** Threads that one operator may use; 1 for small models. */
  readonly threads: number;
  /** Default "all". */
  readonly optimisation?: SessionOptions["optimisation"];
  /** In order of preference; the first that can load the model runs it. Default: ["cpu"]. */
  readonly providers?: readonly Provider[];
  /**
   * Default "here". "measure": here when the model is small enough to open in a few milliseconds and a run of one row
   * takes up to 2 ms, otherwise in a worker.
   */
  readonly place?: "here" | "worker" | "measure";
  /** Called once when the thread of a model in a worker ends by itself. */
  readonly onFailed?: (error: ModelFailed) => void;
  /**
   * Default false. true: a model of trees (up to 16 MB, FP32 [rows, n] in, FP32 [rows] or [rows, k] out, for the
   * provider "cpu") is compiled in another thread, and runs here, several times as fast, where it gives
   * onnxruntime's answers. Every other model is loaded as without.
   */
  readonly compile?: boolean;
  /** Requests to compare the compiled model with onnxruntime on, beside made-up ones; others than its are ignored. */
  readonly samples?: readonly (readonly Tensor[])[];
}

/** How long a run may hold up everything else on the thread that accepts requests. */
const HERE_MILLIS = 2;

/** The best of them counts: any may have been held up by the rest of the machine. */
const QUICK_ATTEMPTS = 7;

/** Weights of more bytes hold the thread that opens them for more than 3 ms: measured 1.3 ms per megabyte. */
const QUICK_WEIGHTS_BYTES = 2 * 2 ** 20;

/** Memory of a thread with onnxruntime in it, measured. */
const WORKER_BYTES = 24 * 2 ** 20;

/**
 * Inspects and loads a model from bytes whose digest the caller has verified; nothing else is read, and they must not
 * change before the promise settles. A model that crashes onnxruntime takes the process with it, in a worker as well:
 * prove a stranger's model first (`proveModel`). Throws a ModelRefused.
 */
export async function loadModel(bytes: Uint8Array, load: LoadOptions): Promise<Model> {
  const options = sessionOptions(load);
  const wanted = load.place ?? "here";
  const outcome = load.compile === true ? await background.compile(bytes, options, load.samples ?? []) : null;
  if (outcome !== null && "image" in outcome) return treesModel(outcome);
  const inspect = wanted === "here" ? checkModel : background.inspect;
  const signature = outcome?.signature ?? (await inspect(bytes));
  try {
    const { session, place } = await openAt(wanted, bytes, signature, options, load.onFailed);
    const memoryBytes = bytes.byteLength + (place === "worker" ? WORKER_BYTES : 0);
    const notCompiled = outcome?.notCompiled ?? null;
    return sessionModel(signature, session, { place, memoryBytes, notCompiled });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ModelRefused(`onnxruntime cannot load it: ${reason}`, { cause: error });
  }
}

/** The options with their defaults. */
export function sessionOptions({
  threads,
  optimisation = "all",
  providers = ["cpu"],
}: Pick<LoadOptions, keyof SessionOptions>): SessionOptions {
  return { threads, optimisation, providers };
}

async function openAt(
  place: "here" | "worker" | "measure",
  bytes: Uint8Array,
  signature: ModelSignature,
  options: SessionOptions,
  onFailed: LoadOptions["onFailed"] = () => undefined,
): Promise<{ session: Session; place: "here" | "worker" }> {
  if (place === "here" || (place === "measure" && isOpenedSoon(bytes))) {
    const session = await openSession(bytes, options);
    if (place === "here" || (await isQuick(session, signature))) return { session, place: "here" };
    await session.release();
  }
  return { session: await openInWorker(bytes, options, onFailed), place: "worker" };
}

const isOpenedSoon = (bytes: Uint8Array): boolean =>
  bytes.byteLength <= QUICK_WEIGHTS_BYTES && !areManyTrees(bytes);

/** Whether a run is quick enough. A model that cannot run on made-up values may take any time. */
async function isQuick(session: Session, signature: ModelSignature): Promise<boolean> {
  const sample = smallestSample(signature);
  try {
    for (let attempt = 0; attempt < QUICK_ATTEMPTS; attempt++) {
      const start = performance.now();
      await runTensors(session.run, signature, sample);
      if (performance.now() - start <= HERE_MILLIS) return true;
    }
    return false;
  } catch {
    return false;
  }
}
