import type { KeyObject } from "node:crypto";
import type { registryApi } from "@millrace/contracts";
import type { CodeName, RpcClient } from "@millrace/rpc";
import type { Clock, Fail, Log, ObjectStore } from "@millrace/runtime";
import type { BlockColumn, Broker } from "@millrace/stream";

export type Registry = RpcClient<typeof registryApi.RegistryService>;

/** A numeric bound on a column; rows where the column is unknown do not pass. */
export interface ColumnBound {
  readonly column: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly below?: number;
}

type ColumnKind = "float32" | "float64" | "text";
type ColumnsOf<S extends Readonly<Record<string, ColumnKind>>> = {
  readonly [K in keyof S]: S[K] extends "float32"
    ? Float32Array
    : S[K] extends "float64"
      ? Float64Array
      : (string | null)[];
};

/** Parquet files; unknown numbers are NaN. The adapter is `libs/parquet`. */
export interface ParquetFiles {
  write(file: string, columns: Readonly<Record<string, BlockColumn>>): Promise<void>;
  read<const S extends Readonly<Record<string, ColumnKind>>>(
    files: readonly string[],
    schema: S,
    options?: { readonly where?: readonly ColumnBound[]; readonly orderBy?: readonly string[] },
  ): Promise<{ readonly rows: number; readonly columns: ColumnsOf<S> }>;
}

/** A loaded model. The adapter is `libs/onnx`. */
export interface ScoringModel {
  readonly signature: {
    readonly features: number;
    readonly featureNames: readonly string[] | null;
    readonly featureDigest: string | null;
  };
  /** Float32Array [rows x features] row-major in, one score per row out. */
  score(matrix: Float32Array, rows: number): Promise<Float32Array>;
  release(): Promise<void>;
}

/** Inspects and loads a model from bytes. Throws an Error with the reason when it may not or cannot run. */
export type LoadModel = (bytes: Uint8Array, options: { readonly threads: number }) => Promise<ScoringModel>;

/** What the trainer needs of the world. `wiring.ts` fills it with adapters, tests with fakes. */
export interface Ports {
  readonly registry: Registry;
  /** The code with which the registry refused; null: the error is none of the registry's. */
  readonly codeOf: (error: unknown) => CodeName | null;
  readonly broker: Broker;
  readonly objects: ObjectStore;
  readonly parquet: ParquetFiles;
  readonly loadModel: LoadModel;
  /** Calls `look` when the registry may have changed; answers how to end it. */
  readonly onRegistryChange: (look: () => void) => () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the process: its supervisor starts it anew. */
  readonly fail: Fail;
  /** Frees what the ports hold. */
  readonly close: () => Promise<void>;
}

/** The trainer's own settings. */
export interface Settings {
  /** Folder for local state, cached blocks and work in hand. */
  readonly data: string;
  /** Folder that holds one folder per recipe. */
  readonly recipes: string;
  /** Environment variables that recipes may ask for (`needs`), where they are set; and PATH. */
  readonly recipeEnvironment: Readonly<Record<string, string>>;
  readonly threads: number;
  /** Longest training of one candidate. */
  readonly seconds: number;
  /** Ed25519 private key that signs models; undefined: they are registered unsigned. */
  readonly signingKey: KeyObject | undefined;
}
