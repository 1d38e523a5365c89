import type { TensorSpec } from "@millrace/open-inference";
import type { CallOptions } from "./retry.ts";

export interface ModelOptions extends CallOptions {
  /** Default: the champion; of statistics, every version. */
  readonly version?: number | string;
}

export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  /** -1 in a shape: a dimension that the request chooses. */
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly properties: Readonly<Record<string, string>>;
}

/** A version of a model, and whether it can answer. */
export interface ModelIndexEntry {
  readonly name: string;
  readonly version: string;
  /** READY, UNAVAILABLE, LOADING, UNLOADING or empty: not loaded. */
  readonly state: string;
  readonly reason: string;
}

/** How often something happened, and how long it took in all. */
export interface CountAndDuration {
  readonly count: number;
  readonly ns: number;
}

/** Since the start of the server's process, as Triton's statistics extension counts. */
export interface ModelStatistics {
  readonly name: string;
  readonly version: string;
  /** Wall clock, ms since the epoch; 0: never. */
  readonly lastInferenceMs: number;
  /** Rows. */
  readonly inferenceCount: number;
  /** Runs of the model: fewer than rows where they are batched. */
  readonly executionCount: number;
  readonly success: CountAndDuration;
  readonly fail: CountAndDuration;
  readonly queue: CountAndDuration;
  readonly computeInput: CountAndDuration;
  readonly computeInfer: CountAndDuration;
  readonly computeOutput: CountAndDuration;
}

/** What models there are, and how they do. */
export interface Models {
  metadata(model: string, options?: ModelOptions): Promise<ModelMetadata>;
  ready(model: string, options?: ModelOptions): Promise<boolean>;
  index(options?: CallOptions): Promise<readonly ModelIndexEntry[]>;
  statistics(model: string, options?: ModelOptions): Promise<readonly ModelStatistics[]>;
}
