import { inspectModel, type ModelSignature } from "@millrace/onnx-graph";
import { InferenceSession, Tensor } from "onnxruntime-node";

/** The bytes are not a model that may run here, or onnxruntime cannot load them. The message says why. */
export class ModelRefused extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(`model refused: ${reason}`, options);
    this.name = "ModelRefused";
  }
}

/** A loaded model. */
export interface Model {
  readonly signature: ModelSignature;
  /** Number of values per row. */
  readonly features: number;
  /**
   * Scores `rows` rows. `matrix` is Float32Array [rows x features], row-major, NaN where a value is unknown; it is
   * read after the call and must not change before the promise settles. The answer has one score per row; a model
   * from outside may answer values that are not probabilities: check them. Throws a RangeError when the matrix does
   * not have that size, an Error when the model fails or was released. Runs on the calling thread.
   */
  score(matrix: Float32Array, rows: number): Promise<Float32Array>;
  /** Frees the model's memory once the runs in flight have ended. May be called more than once. */
  release(): Promise<void>;
}

/**
 * Inspects and loads a model from bytes whose digest the caller has verified; nothing else is read.
 * `threads`: how many the operators may use, 1 for small models. Throws a ModelRefused.
 */
export async function loadModel(bytes: Uint8Array, options: { readonly threads: number }): Promise<Model> {
  const inspection = inspectModel(bytes);
  if (!inspection.ok) throw new ModelRefused(inspection.reason);
  const { signature } = inspection;
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(bytes, {
      executionProviders: ["cpu"],
      graphOptimizationLevel: "all",
      intraOpNumThreads: options.threads,
      interOpNumThreads: 1,
      // Errors only: warnings go to standard error, past the log.
      logSeverityLevel: 3,
      // Idle threads must not burn the core that the accepting thread needs.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
  } catch (error) {
    throw new ModelRefused(`onnxruntime cannot load it: ${String(error)}`, { cause: error });
  }

  const running = new Set<Promise<unknown>>();
  let released: Promise<void> | undefined;
  const run = async (matrix: Float32Array, rows: number): Promise<Float32Array> => {
    const input = new Tensor("float32", matrix, [rows, signature.features]);
    const score = (await session.run({ features: input })).score;
    if (score?.type !== "float32" || score.dims.length !== 1 || score.dims[0] !== rows) {
      throw new Error(
        `the model answered ${score?.type} [${score?.dims}] to ${rows} rows, not float32 [${rows}]`,
      );
    }
    return score.data as Float32Array;
  };
  return {
    signature,
    features: signature.features,
    async score(matrix, rows) {
      if (matrix.length !== rows * signature.features) {
        throw new RangeError(
          `${matrix.length} values are not ${rows} rows of ${signature.features} features`,
        );
      }
      if (released !== undefined) throw new Error("the model was released");
      if (rows === 0) return new Float32Array(0);
      const result = run(matrix, rows);
      running.add(result);
      try {
        return await result;
      } finally {
        running.delete(result);
      }
    },
    release() {
      released ??= Promise.allSettled(running).then(() => session.release());
      return released;
    },
  };
}
