import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { BlockFiles } from "@millrace/archive";
import type { Trigger } from "@millrace/contracts";
import {
  type Block,
  type ExampleColumns,
  MANIFEST_FORMAT,
  type Manifest,
  manifestText,
  newestKnown,
  parseManifest,
  profileExamples,
  type RevisionColumns,
  ripeUntil,
  selectBlocks,
  splitByTime,
  validateExamples,
} from "@millrace/datasets";
import { checkedDurationMs, featureNames, type LearningLine } from "@millrace/lines";
import type { Ports } from "./ports.ts";
import { RunFailed } from "./run-failed.ts";

const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;

/** A dataset with its rows at hand. */
export interface Dataset {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest's text. */
  readonly digest: string;
  /** A Parquet file of the rows to learn from, in the order of their event time, and of no others. */
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
  readonly line: LearningLine;
  readonly featureDigest: string;
  readonly topic: string;
  /** Archived blocks of the topic, in any order. */
  readonly blocks: readonly Block[];
  /** Event time of the line now. */
  readonly streamTimeMs: number;
  /** Only what had been accepted by then (wall clock); null: everything. */
  readonly acceptedAtMs: number | null;
  readonly changeMs: number | null;
  readonly cause: { readonly runId: string; readonly trigger: Trigger; readonly cause: string };
  /** Folder for the rows to learn from; made when missing. */
  readonly folder: string;
}

type BuildPorts = Pick<Ports, "objects" | "parquet">;

/**
 * Chooses the examples of the last `learnFrom` that are ripe and stand, divides them by time, checks them, and stores
 * the manifest. Without a change, the held-out rows are a share of the newest `staleAfter` of the ripe ones, so that
 * the model is not stale from birth. Throws a RunFailed when the examples cannot be learnt from.
 */
export async function composeDataset(
  request: DatasetRequest,
  files: BlockFiles,
  { objects, parquet }: BuildPorts,
): Promise<Dataset> {
  const { line, featureDigest, streamTimeMs, acceptedAtMs, changeMs } = request;
  const { silence, waitFor } = line.label;
  const fromMs = streamTimeMs - checkedDurationMs(line.retrain.learnFrom);
  const ripeMs = ripeUntil({ silence, waitMs: checkedDurationMs(waitFor) }, streamTimeMs);
  const blocks = selectBlocks(request.blocks, fromMs);
  await files.fetch(blocks);
  const ours: Block[] = [];
  let otherFeatures = 0;
  for (const block of blocks) {
    if ((await featureDigestOf(files.file(block.digest), parquet)) === featureDigest) ours.push(block);
    else otherFeatures += block.rows;
  }
  if (ours.length === 0) {
    throw new RunFailed(
      `There are no examples of the last ${line.retrain.learnFrom} with the line's features.`,
    );
  }

  const names = featureNames(line);
  const known = { knownAtMs: streamTimeMs, acceptedAtMs };
  const columns = await readExamples(
    ours,
    names.length,
    { fromMs, untilMs: ripeMs, ...known },
    files,
    parquet,
  );
  const recentMs = Math.min(ripeMs, streamTimeMs) - checkedDurationMs(line.retrain.staleAfter);
  const split = splitByTime(columns.times, line.gates.heldOut, Math.max(recentMs, changeMs ?? recentMs));
  if (split === null) throw new RunFailed("There are no examples since the change to judge a candidate on.");
  const { heldOutFromMs } = split;
  const trainingColumns = rowsWhere(columns, (time) => time < heldOutFromMs);
  const training = profileExamples(trainingColumns, names);
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
    filter: { fromMs, untilMs: heldOut.maxTimeMs + 1, ...known },
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
  return { manifest, digest, files: [await writeTraining(request.folder, trainingColumns, parquet)] };
}

/** The digest of the feature definition that computed a block's rows; several, joined, where it changed between them. */
async function featureDigestOf(file: string, parquet: Ports["parquet"]): Promise<string> {
  const { columns } = await parquet.read([file], { features: "text" });
  return [...new Set(columns.features)].join("+");
}

/** Takes up the dataset that an earlier attempt of the run made; its rows to learn from go to `folder`. */
export async function reopenDataset(
  digest: string,
  folder: string,
  files: BlockFiles,
  { objects, parquet }: BuildPorts,
): Promise<Dataset> {
  const text = await objects.get(digest, { bytesMax: MANIFEST_BYTES_MAX });
  const manifest = parseManifest(Buffer.from(text).toString("utf8"));
  await files.fetch(manifest.blocks);
  const { blocks, featureNames: names, filter, heldOutFromMs } = manifest;
  const training = { ...filter, untilMs: heldOutFromMs };
  const columns = await readExamples(blocks, names.length, training, files, parquet);
  return { manifest, digest, files: [await writeTraining(folder, columns, parquet)] };
}

/** Reads the rows that candidates are judged on. */
export async function readHeldOut(
  { manifest }: Dataset,
  files: BlockFiles,
  { parquet }: BuildPorts,
): Promise<HeldOut> {
  const { heldOutFromMs, filter, featureNames: names } = manifest;
  const blocks = manifest.blocks.filter((block) => block.maxTimeMs >= heldOutFromMs);
  const heldOut = { ...filter, fromMs: heldOutFromMs };
  const { labels, values, times } = await readExamples(blocks, names.length, heldOut, files, parquet);
  return { rows: times.length, labels, matrix: rowMajor(values, times.length) };
}

/** The rows of the blocks that a filter keeps, in the order of their event time. */
async function readExamples(
  blocks: readonly Block[],
  width: number,
  filter: Manifest["filter"],
  files: BlockFiles,
  parquet: Ports["parquet"],
): Promise<ExampleColumns> {
  const paths = blocks.map((block) => files.file(block.digest));
  const features = featureColumns(width);
  const floats = ["label", ...features].map((name) => [name, "float32"] as const);
  const schema = {
    id: "text",
    time: "float64",
    known_at: "float64",
    revision: "float64",
    vector_accepted_at: "float64",
    label_accepted_at: "float64",
    ...Object.fromEntries(floats),
  } as const;
  const untilMs = Number.isFinite(filter.untilMs) ? { below: filter.untilMs } : {};
  const { columns } = await parquet.read(paths, schema, {
    where: [{ column: "time", atLeast: filter.fromMs, ...untilMs }],
    orderBy: ["time", "id", "revision"],
  });
  const float = (name: string): Float32Array =>
    columns[name as keyof typeof columns] as unknown as Float32Array;
  const all: ExampleColumns & RevisionColumns = {
    ids: columns.id,
    times: columns.time,
    knownAt: columns.known_at,
    labels: float("label"),
    values: features.map(float),
    revisions: columns.revision,
    vectorAcceptedAt: columns.vector_accepted_at,
    labelAcceptedAt: columns.label_accepted_at,
  };
  return pickRows(all, newestKnown(all, filter));
}

/** Writes what recipes read (`recipes/README.md`): they need not know of held-out and of superseded rows. */
async function writeTraining(
  folder: string,
  { ids, times, knownAt, labels, values }: ExampleColumns,
  parquet: Ports["parquet"],
): Promise<Dataset["files"][number]> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, "training.parquet");
  const features = featureColumns(values.length).map(
    (name, i) => [name, { kind: "float32", values: values[i] as Float32Array }] as const,
  );
  await parquet.write(file, {
    id: { kind: "text", values: ids },
    time: { kind: "integer", values: times },
    known_at: { kind: "integer", values: knownAt },
    label: { kind: "float32", values: labels },
    ...Object.fromEntries(features),
  });
  return { file, rows: times.length };
}

const featureColumns = (width: number): string[] => Array.from({ length: width }, (_, i) => `f${i}`);

function rowsWhere(columns: ExampleColumns, keep: (timeMs: number) => boolean): ExampleColumns {
  return pickRows(
    columns,
    Array.from(columns.times.keys()).filter((row) => keep(columns.times[row] as number)),
  );
}

function pickRows(columns: ExampleColumns, rows: readonly number[]): ExampleColumns {
  const pick = (values: Float32Array): Float32Array =>
    Float32Array.from(rows, (row) => values[row] as number);
  return {
    ids: rows.map((row) => columns.ids[row] as string),
    times: Float64Array.from(rows, (row) => columns.times[row] as number),
    knownAt: Float64Array.from(rows, (row) => columns.knownAt[row] as number),
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
