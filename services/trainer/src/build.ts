import type { Trigger } from "@millrace/contracts";
import {
  type Block,
  type ExampleColumns,
  MANIFEST_FORMAT,
  type Manifest,
  manifestText,
  parseManifest,
  profileExamples,
  selectBlocks,
  splitByTime,
  validateExamples,
} from "@millrace/datasets";
import { checkedDurationMs, featureNames, type LineDefinition } from "@millrace/lines";
import type { BlockFiles } from "./block-files.ts";
import type { ColumnBound, Ports } from "./ports.ts";
import { RunFailed } from "./run-failed.ts";

const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;

/** A dataset with its rows at hand. */
export interface Dataset {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest's text. */
  readonly digest: string;
  /** Parquet files of the manifest's blocks. */
  readonly files: readonly { readonly file: string; readonly rows: number }[];
}

/** Rows that candidates are judged on, in the order of their event time. */
export interface HeldOut {
  readonly rows: number;
  readonly labels: Float32Array;
  /** Float32Array [rows x features], row-major, NaN where unknown. */
  readonly matrix: Float32Array;
}

export interface DatasetRequest {
  readonly line: LineDefinition;
  readonly featureDigest: string;
  readonly topic: string;
  /** Archived blocks of the topic, in any order. */
  readonly blocks: readonly Block[];
  /** Event time of the line now. */
  readonly streamTimeMs: number;
  readonly changeMs: number | null;
  readonly cause: { readonly runId: string; readonly trigger: Trigger; readonly cause: string };
}

type BuildPorts = Pick<Ports, "objects" | "parquet">;

/**
 * Chooses the examples of the last `learnFrom`, divides them by time, checks them, and stores the manifest. Without a
 * change, the held-out rows are a share of the newest `staleAfter`, so that the model is not stale from birth.
 * Throws a RunFailed when the examples cannot be learnt from.
 */
export async function composeDataset(
  request: DatasetRequest,
  files: BlockFiles,
  { objects, parquet }: BuildPorts,
): Promise<Dataset> {
  const { line, featureDigest, streamTimeMs, changeMs } = request;
  const fromMs = streamTimeMs - checkedDurationMs(line.retrain.learnFrom);
  const blocks = selectBlocks(request.blocks, fromMs);
  await files.fetch(blocks);
  const ours: Block[] = [];
  let otherFeatures = 0;
  for (const block of blocks) {
    if ((await files.featureDigest(block)) === featureDigest) ours.push(block);
    else otherFeatures += block.rows;
  }
  if (ours.length === 0) {
    throw new RunFailed(
      `There are no examples of the last ${line.retrain.learnFrom} with the line's features.`,
    );
  }

  const names = featureNames(line);
  const columns = await readExamples(
    ours.map((block) => files.file(block.digest)),
    names.length,
    [{ column: "time", atLeast: fromMs }],
    parquet,
  );
  const recentMs = streamTimeMs - checkedDurationMs(line.retrain.staleAfter);
  const split = splitByTime(columns.times, line.gates.heldOut, Math.max(recentMs, changeMs ?? recentMs));
  if (split === null) throw new RunFailed("There are no examples since the change to judge a candidate on.");
  const { heldOutFromMs } = split;
  const training = profileExamples(
    rowsWhere(columns, (time) => time < heldOutFromMs),
    names,
  );
  const heldOut = profileExamples(
    rowsWhere(columns, (time) => time >= heldOutFromMs),
    names,
  );
  const findings = validateExamples({ training, heldOut, split, otherFeatures });
  const blocking = findings.filter((finding) => finding.severity === "blocking");
  if (blocking.length > 0) throw new RunFailed(blocking.map((finding) => finding.text).join(" "));

  const manifest: Manifest = {
    format: MANIFEST_FORMAT,
    line: line.name,
    topic: request.topic,
    label: line.label.name,
    featureDigest,
    featureNames: names,
    blocks: ours,
    filter: {
      fromMs,
      untilMs: heldOut.maxTimeMs + 1,
      knownAtMs: Math.max(training.maxKnownAtMs, heldOut.maxKnownAtMs),
    },
    changeMs,
    heldOutFromMs,
    rows: training.rows + heldOut.rows,
    positives: training.positives + heldOut.positives,
    training,
    heldOut,
    findings,
    cause: request.cause,
  };
  const digest = await objects.put(Buffer.from(manifestText(manifest)));
  return { manifest, digest, files: blockPaths(manifest, files) };
}

/** Takes up the dataset that an earlier attempt of the run made. */
export async function reopenDataset(
  digest: string,
  files: BlockFiles,
  { objects }: BuildPorts,
): Promise<Dataset> {
  const text = await objects.get(digest, { bytesMax: MANIFEST_BYTES_MAX });
  const manifest = parseManifest(Buffer.from(text).toString("utf8"));
  await files.fetch(manifest.blocks);
  return { manifest, digest, files: blockPaths(manifest, files) };
}

/** Reads the rows that candidates are judged on. */
export async function readHeldOut(
  { manifest }: Dataset,
  files: BlockFiles,
  { parquet }: BuildPorts,
): Promise<HeldOut> {
  const { heldOutFromMs, filter, featureNames: names } = manifest;
  const blocks = manifest.blocks.filter((block) => block.maxTimeMs >= heldOutFromMs);
  const { labels, values, times } = await readExamples(
    blocks.map((block) => files.file(block.digest)),
    names.length,
    [
      { column: "time", atLeast: heldOutFromMs, below: filter.untilMs },
      { column: "known_at", atMost: filter.knownAtMs },
    ],
    parquet,
  );
  return { rows: times.length, labels, matrix: rowMajor(values, times.length) };
}

const blockPaths = ({ blocks }: Manifest, files: BlockFiles): Dataset["files"] =>
  blocks.map(({ digest, rows }) => ({ file: files.file(digest), rows }));

async function readExamples(
  paths: readonly string[],
  width: number,
  where: readonly ColumnBound[],
  parquet: Ports["parquet"],
): Promise<ExampleColumns> {
  const features = Array.from({ length: width }, (_, i) => `f${i}`);
  const floats = ["label", ...features].map((name) => [name, "float32"] as const);
  const schema = { id: "text", time: "float64", known_at: "float64", ...Object.fromEntries(floats) } as const;
  const { columns } = await parquet.read(paths, schema, { where, orderBy: ["time", "id"] });
  const float = (name: string): Float32Array =>
    columns[name as keyof typeof columns] as unknown as Float32Array;
  return {
    ids: columns.id,
    times: columns.time,
    knownAt: columns.known_at,
    labels: float("label"),
    values: features.map(float),
  };
}

function rowsWhere(columns: ExampleColumns, keep: (timeMs: number) => boolean): ExampleColumns {
  const kept = Array.from(columns.times.keys()).filter((row) => keep(columns.times[row] as number));
  const pick = (values: Float32Array): Float32Array =>
    Float32Array.from(kept, (row) => values[row] as number);
  return {
    ids: kept.map((row) => columns.ids[row] as string),
    times: Float64Array.from(kept, (row) => columns.times[row] as number),
    knownAt: Float64Array.from(kept, (row) => columns.knownAt[row] as number),
    labels: pick(columns.labels),
    values: columns.values.map(pick),
  };
}

function rowMajor(columns: readonly Float32Array[], rows: number): Float32Array {
  const width = columns.length;
  const matrix = new Float32Array(rows * width);
  columns.forEach((column, j) => {
    for (let i = 0, at = j; i < rows; i++, at += width) matrix[at] = column[i] as number;
  });
  return matrix;
}
