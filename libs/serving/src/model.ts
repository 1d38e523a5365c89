/** A model that can score. `libs/onnx` gives one. */
export interface ServedModel {
  /** Values per row. */
  readonly features: number;
  /**
   * One score per row. `matrix` is Float32Array [rows x features], row-major, NaN where a value is not known; it must
   * not change before the promise settles.
   */
  score(matrix: Float32Array, rows: number): Promise<Float32Array>;
  /** Frees the model's memory. */
  release(): Promise<void>;
}

/** Makes a model from bytes whose digest was verified. Rejects with the reason when they are no model that may run. */
export type Loader = (bytes: Uint8Array) => Promise<ServedModel>;

/** A model was loaded and does not keep the contract. */
export class ModelContractError extends Error {
  constructor(problem: string) {
    super(`the model does not keep the contract: ${problem}`);
    this.name = "ModelContractError";
  }
}

const WARM_UP_ROWS = [1, 64];

/**
 * Scores made-up rows, so that the first real request finds memory and code in place, and so that a model which
 * cannot answer never serves: every score of a row of zeros or of unknown values is a finite number.
 * Throws a ModelContractError.
 */
export async function warmUp(model: ServedModel, features: number): Promise<void> {
  if (model.features !== features) {
    throw new ModelContractError(
      `it takes ${model.features} values per row, its version names ${features} features`,
    );
  }
  for (const rows of WARM_UP_ROWS) {
    for (const value of [0, Number.NaN]) {
      const scores = await model.score(new Float32Array(rows * features).fill(value), rows);
      if (scores.length !== rows) throw new ModelContractError(`${scores.length} scores for ${rows} rows`);
      const wrong = scores.find((score) => !Number.isFinite(score));
      if (wrong !== undefined) throw new ModelContractError(`it answers ${wrong} to a row of ${value}`);
    }
  }
}
