import { type LibraryHandle, load } from "koffi";
import { RecipeExit } from "../kit/job.ts";

/** LightGBM as this recipe needs it. A call blocks the thread. Errors carry LightGBM's own message. */
export interface Lightgbm {
  /** Bins a matrix [rows x width], row-major, NaN where unknown; labels 0 or 1. */
  createDataset(matrix: Float32Array, labels: Float32Array, width: number, parameters: string): Dataset;
  createBooster(dataset: Dataset, parameters: string): Booster;
  /** Reads the text form of a model. */
  loadBooster(model: string): Booster;
}

export interface Dataset {
  readonly handle: bigint;
  /** Raw scores (log odds) that boosting starts from, one per row. */
  setInitialScores(scores: Float64Array): void;
  free(): void;
}

export interface Booster {
  readonly handle: bigint;
  /** Grows one tree; false when no split helps any more. */
  grow(): boolean;
  /** Puts the trees of the other booster before its own. */
  prepend(other: Booster): void;
  /** Probabilities, or raw scores (log odds), one per row. */
  predict(matrix: Float32Array, width: number, raw: boolean): Float64Array;
  /** The model in text form. */
  save(): string;
  free(): void;
}

const FLOAT32 = 0;
const FLOAT64 = 1;
const PREDICT_PROBABILITY = 0;
const PREDICT_RAW = 1;
/** For boosters that are not made from a data set; LightGBM writes warnings on standard output otherwise. */
const QUIET = "verbosity=-1";

/** Loads the shared library. Throws a RecipeExit (library missing) with the remedy. */
export function loadLightgbm(file: string | undefined): Lightgbm {
  if (file === undefined || file === "") {
    throw new RecipeExit(
      "libraryMissing",
      "MILLRACE_LIGHTGBM_LIBRARY is not set: give it the path of lib_lightgbm.so from the lightgbm 4.7.0 wheel",
    );
  }
  let library: LibraryHandle;
  try {
    library = load(file);
  } catch (error) {
    throw new RecipeExit(
      "libraryMissing",
      `MILLRACE_LIGHTGBM_LIBRARY=${file} cannot be loaded: ${String(error)}`,
      { cause: error },
    );
  }
  const c = declare(library);
  const check = (code: number, what: string): void => {
    if (code !== 0) throw new Error(`LightGBM: ${what}: ${c.lastError()}`);
  };
  const made = (what: string, make: (out: BigUint64Array) => number): bigint => {
    const out = new BigUint64Array(1);
    check(make(out), what);
    return out[0] as bigint;
  };
  const booster = (handle: bigint): Booster => ({
    handle,
    grow() {
      const finished = new Int32Array(1);
      check(c.boosterUpdate(handle, finished), "grow a tree");
      return finished[0] === 0;
    },
    prepend: (other) => check(c.boosterMerge(handle, other.handle), "merge models"),
    predict(matrix, width, raw) {
      const scores = new Float64Array(matrix.length / width);
      const length = new BigInt64Array(1);
      const kind = raw ? PREDICT_RAW : PREDICT_PROBABILITY;
      check(
        c.boosterPredict(
          handle,
          matrix,
          FLOAT32,
          scores.length,
          width,
          1,
          kind,
          0,
          -1,
          QUIET,
          length,
          scores,
        ),
        "predict",
      );
      return scores;
    },
    save() {
      const length = new BigInt64Array(1);
      const into = (buffer: Buffer): Buffer => {
        check(c.boosterSave(handle, 0, -1, 0, buffer.length, length, buffer), "save the model");
        return buffer;
      };
      // The first call tells the length, its zero byte included.
      into(Buffer.alloc(1));
      return into(Buffer.alloc(Number(length[0]))).toString("utf8", 0, Number(length[0]) - 1);
    },
    free: () => check(c.boosterFree(handle), "free a booster"),
  });
  return {
    createDataset(matrix, labels, width, parameters) {
      const handle = made("create the data set", (out) =>
        c.datasetFromMatrix(matrix, FLOAT32, labels.length, width, 1, parameters, 0n, out),
      );
      check(c.datasetSetField(handle, "label", labels, labels.length, FLOAT32), "set the labels");
      return {
        handle,
        setInitialScores: (scores) =>
          check(
            c.datasetSetField(handle, "init_score", scores, scores.length, FLOAT64),
            "set the initial scores",
          ),
        free: () => check(c.datasetFree(handle), "free the data set"),
      };
    },
    createBooster: (dataset, parameters) =>
      booster(made("create a booster", (out) => c.boosterCreate(dataset.handle, parameters, out))),
    loadBooster: (model) => {
      const iterations = new Int32Array(1);
      return booster(made("load a model", (out) => c.boosterLoad(model, iterations, out)));
    },
  };
}

/** LightGBM's C functions (`c_api.h` of 4.7.0). Handles are addresses; arrays are passed without a copy. */
function declare(library: LibraryHandle) {
  const declared = (prototype: string) => library.func(prototype);
  return {
    lastError: declared("const char *LGBM_GetLastError()") as () => string,
    datasetFromMatrix: declared(
      "int LGBM_DatasetCreateFromMat(void *data, int type, int32_t rows, int32_t columns, int row_major, const char *parameters, uint64_t reference, void *out)",
    ) as Native,
    datasetSetField: declared(
      "int LGBM_DatasetSetField(uint64_t handle, const char *field, void *data, int elements, int type)",
    ) as Native,
    datasetFree: declared("int LGBM_DatasetFree(uint64_t handle)") as Native,
    boosterCreate: declared(
      "int LGBM_BoosterCreate(uint64_t data, const char *parameters, void *out)",
    ) as Native,
    boosterLoad: declared(
      "int LGBM_BoosterLoadModelFromString(const char *model, void *iterations, void *out)",
    ) as Native,
    boosterMerge: declared("int LGBM_BoosterMerge(uint64_t handle, uint64_t other)") as Native,
    boosterUpdate: declared("int LGBM_BoosterUpdateOneIter(uint64_t handle, void *finished)") as Native,
    boosterPredict: declared(
      "int LGBM_BoosterPredictForMat(uint64_t handle, void *data, int type, int32_t rows, int32_t columns, int row_major, int kind, int start, int iterations, const char *parameters, void *length, void *out)",
    ) as Native,
    boosterSave: declared(
      "int LGBM_BoosterSaveModelToString(uint64_t handle, int start, int iterations, int importance, int64_t capacity, void *length, void *out)",
    ) as Native,
    boosterFree: declared("int LGBM_BoosterFree(uint64_t handle)") as Native,
  };
}

type Native = (...values: (number | bigint | string | ArrayBufferView)[]) => number;
