import type { registryApi as api } from "@millrace/contracts";
import { type Lease, type Rollout, shareOf } from "@millrace/versions";
import type { AspiredRow, BlockRow, CheckpointRow, LineRow, RunRow, VersionRow } from "./store.ts";

/** A protobuf message as a plain object. */
export type Plain<M> = M extends readonly (infer E)[]
  ? Plain<E>[]
  : M extends { readonly $typeName: string }
    ? { -readonly [K in keyof M as Exclude<K, "$typeName" | "$unknown">]: Plain<M[K]> }
    : M;

/** What a handler may know of its call besides the request. */
export interface Caller {
  /** W3C traceparent of the caller; empty when it sent none. */
  readonly traceparent: string;
}

type Unary<I, O> = (request: I, call: Caller) => Promise<Plain<O>>;

/** The methods of `millrace.registry.v1.RegistryService`. They throw a Refusal, or a defect. */
export interface RegistryHandlers {
  applyLine: Unary<api.ApplyLineRequest, api.ApplyLineResponse>;
  listLines: Unary<api.ListLinesRequest, api.ListLinesResponse>;
  addBlock: Unary<api.AddBlockRequest, api.AddBlockResponse>;
  listBlocks: Unary<api.ListBlocksRequest, api.ListBlocksResponse>;
  acquireCheckpoints: Unary<api.AcquireCheckpointsRequest, api.AcquireCheckpointsResponse>;
  putCheckpoint: Unary<api.PutCheckpointRequest, api.PutCheckpointResponse>;
  listCheckpoints: Unary<api.ListCheckpointsRequest, api.ListCheckpointsResponse>;
  acquireLease: Unary<api.AcquireLeaseRequest, api.AcquireLeaseResponse>;
  addRun: Unary<api.AddRunRequest, api.AddRunResponse>;
  updateRun: Unary<api.UpdateRunRequest, api.UpdateRunResponse>;
  listRuns: Unary<api.ListRunsRequest, api.ListRunsResponse>;
  registerVersion: Unary<api.RegisterVersionRequest, api.RegisterVersionResponse>;
  listVersions: Unary<api.ListVersionsRequest, api.ListVersionsResponse>;
  promote: Unary<api.PromoteRequest, api.PromoteResponse>;
  rollback: Unary<api.RollbackRequest, api.RollbackResponse>;
  startRollout: Unary<api.StartRolloutRequest, api.StartRolloutResponse>;
  setRolloutShare: Unary<api.SetRolloutShareRequest, api.SetRolloutShareResponse>;
  endRollout: Unary<api.EndRolloutRequest, api.EndRolloutResponse>;
  getAspiredSet: Unary<api.GetAspiredSetRequest, api.GetAspiredSetResponse>;
  getHistory: Unary<api.GetHistoryRequest, api.GetHistoryResponse>;
}

export function lineMessage(row: LineRow): Plain<api.Line> {
  return { ...row, revision: BigInt(row.revision), appliedAtMs: BigInt(row.appliedAtMs) };
}

export function blockMessage(row: BlockRow): Plain<api.Block> {
  return {
    ...row,
    firstOffset: BigInt(row.firstOffset),
    nextOffset: BigInt(row.nextOffset),
    rows: BigInt(row.rows),
    bytes: BigInt(row.bytes),
    minTimeMs: BigInt(row.minTimeMs),
    maxTimeMs: BigInt(row.maxTimeMs),
    maxKnownAtMs: BigInt(row.maxKnownAtMs),
  };
}

export function checkpointMessage(row: CheckpointRow): Plain<api.Checkpoint> {
  return {
    ...row,
    bytes: BigInt(row.bytes),
    offsets: Object.fromEntries(
      Object.entries(row.offsets).map(([topic, offset]) => [topic, BigInt(offset)]),
    ),
    epoch: BigInt(row.epoch),
    savedAtMs: BigInt(row.savedAtMs),
  };
}

export function leaseMessage(lease: Lease): Plain<api.AcquireLeaseResponse> {
  return { epoch: BigInt(lease.epoch), expiresAtMs: BigInt(lease.expiresAtMs) };
}

export function runMessage(row: RunRow): Plain<api.Run> {
  return {
    ...row,
    epoch: BigInt(row.epoch),
    createdAtMs: BigInt(row.createdAtMs),
    updatedAtMs: BigInt(row.updatedAtMs),
    streamTimeMs: BigInt(row.streamTimeMs),
    changeTimeMs: BigInt(row.changeTimeMs),
    version: BigInt(row.version),
    stageMs: Object.fromEntries(Object.entries(row.stageMs).map(([stage, ms]) => [stage, BigInt(ms)])),
  };
}

export function versionMessage(row: VersionRow): Plain<api.Version> {
  return {
    ...row,
    version: BigInt(row.version),
    artifactBytes: BigInt(row.artifactBytes),
    epoch: BigInt(row.epoch),
    parentVersion: BigInt(row.parentVersion),
    registeredAtMs: BigInt(row.registeredAtMs),
    trainedUntilMs: BigInt(row.trainedUntilMs),
    featureNames: [...row.featureNames],
  };
}

/** `versions`: those of the line, from which the models' details come. */
export function aspiredMessage(row: AspiredRow, versions: readonly VersionRow[]): Plain<api.AspiredSet> {
  return {
    line: row.line,
    generation: BigInt(row.generation),
    models: row.models.map(({ version, role }) => {
      const found = versions.find((candidate) => candidate.version === version) as VersionRow;
      return {
        version: BigInt(version),
        role,
        artifactDigest: found.artifactDigest,
        artifactBytes: BigInt(found.artifactBytes),
        featureDigest: found.featureDigest,
        featureNames: [...found.featureNames],
        datasetDigest: found.datasetDigest,
        signature: found.signature,
        share: shareOf(row, version),
        recipe: found.recipe,
        runId: found.runId,
      };
    }),
    changedAtMs: BigInt(row.changedAtMs),
    change: row.change,
    reason: row.reason,
    traceparent: row.traceparent,
    ...(row.rollout === null ? {} : { rollout: rolloutMessage(row.rollout) }),
  };
}

/** The shares stand with the models. */
function rolloutMessage({ strategy, by, salt, startedAtMs, version }: Rollout): Plain<api.Rollout> {
  return { strategy, by, salt, startedAtMs: BigInt(startedAtMs), version: BigInt(version) };
}

/** The aspired set of a line for which nothing was promoted yet. */
export function nothingAspiredMessage(line: string): Plain<api.AspiredSet> {
  return { line, generation: 0n, models: [], changedAtMs: 0n, change: "", reason: "", traceparent: "" };
}
