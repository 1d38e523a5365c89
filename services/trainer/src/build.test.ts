import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import type { Example } from "@millrace/contracts";
import { type Block, parseManifest } from "@millrace/datasets";
import type { LearningLine } from "@millrace/lines";
import { openParquet, type Parquet } from "@millrace/parquet";
import { type MemoryObjects, memoryObjects } from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { composeDataset, type Dataset, type DatasetRequest, readHeldOut, reopenDataset } from "./build.ts";
import { exampleColumns } from "./collect.ts";

const HOUR = 3_600_000;
const lineOf = (silence: "unknown" | "negative"): LearningLine =>
  ({
    name: "parcels",
    label: { name: "late", waitFor: "2h", silence },
    features: [{ name: "weight" }, { name: "stops" }],
    retrain: { learnFrom: "10d", staleAfter: "5d" },
    gates: { heldOut: 0.25 },
  }) as unknown as LearningLine;

let folder: string;
let parquet: Parquet;
let objects: MemoryObjects;
let files: BlockFiles;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "build-"));
  parquet = await openParquet({ memoryMb: 128, threads: 1, scratch: join(folder, "spill") });
  objects = memoryObjects();
  files = new BlockFiles(join(folder, "blocks"), objects);
});
afterEach(() => {
  parquet.close();
  rmSync(folder, { recursive: true });
});

/** One event an hour, labelled an hour later; every second is positive, and `weight` is its number. */
const example = (n: number, change: Partial<Example> = {}): Example => ({
  id: `parcel-${n}`,
  time: n * HOUR,
  knownAt: (n + 1) * HOUR,
  label: n % 2,
  values: [n, n % 3 === 0 ? null : n % 7],
  features: "digest",
  revision: 0,
  labelled: "event",
  vectorAcceptedAtMs: 1_000_000 + n,
  labelAcceptedAtMs: 2_000_000 + n,
  ...change,
});
const many = (count: number): Example[] => Array.from({ length: count }, (_, n) => example(n));

let offset = 0;
async function archive(examples: readonly Example[]): Promise<Block> {
  const file = join(folder, "block.parquet");
  await parquet.write(file, exampleColumns(examples));
  const bytes = readFileSync(file);
  const times = examples.map(({ time }) => time);
  return {
    digest: await objects.put(bytes),
    bytes: bytes.length,
    partition: 0,
    firstOffset: offset,
    nextOffset: (offset += examples.length),
    rows: examples.length,
    minTimeMs: Math.min(...times),
    maxTimeMs: Math.max(...times),
    maxKnownAtMs: Math.max(...examples.map(({ knownAt }) => knownAt)),
  };
}

const compose = (blocks: readonly Block[], change: Partial<DatasetRequest> = {}): Promise<Dataset> =>
  composeDataset(
    {
      line: lineOf("unknown"),
      featureDigest: "digest",
      topic: "parcels.examples",
      blocks,
      streamTimeMs: Math.max(...blocks.map(({ maxKnownAtMs }) => maxKnownAtMs)),
      acceptedAtMs: null,
      changeMs: null,
      cause: { runId: "r", trigger: "first", cause: "first/100" },
      folder: join(folder, "run"),
      ...change,
    },
    files,
    { objects, parquet },
  );

/** What a recipe can read: id and label by row. */
async function given({ files: data }: Dataset): Promise<[id: string, label: number][]> {
  const { columns } = await parquet.read(
    data.map(({ file }) => file),
    { id: "text", label: "float32" },
  );
  return columns.id.map((id, row) => [id as string, columns.label[row] as number]);
}

describe("a dataset", () => {
  it("gives a recipe the rows to learn from, in the order of time, and none that it is judged on", async () => {
    const examples = many(100);
    const dataset = await compose([await archive(examples.slice(50)), await archive(examples.slice(0, 50))]);
    const { heldOutFromMs } = dataset.manifest;
    expect(heldOutFromMs).toBe(75 * HOUR);
    expect(await given(dataset)).toEqual(examples.slice(0, 75).map(({ id, label }) => [id, label]));
    expect(dataset.files.map(({ rows }) => rows)).toEqual([75]);
    const heldOut = await readHeldOut(dataset, files, { objects, parquet });
    expect([...heldOut.labels]).toEqual(examples.slice(75).map(({ label }) => label));
    expect(heldOut.matrix.slice(0, 2)).toEqual(Float32Array.of(75, Number.NaN));
  });

  it("learns from the newest label of an event, and is judged by it, wherever its rows lie", async () => {
    const examples = many(100);
    const corrections = [10, 90].map((n) =>
      example(n, { label: 1, revision: 1, knownAt: 101 * HOUR, labelAcceptedAtMs: 3_000_000 }),
    );
    const blocks = [await archive(examples), await archive(corrections)];
    const dataset = await compose(blocks);
    const learnt = await given(dataset);
    expect(learnt.filter(([id]) => id === "parcel-10")).toEqual([["parcel-10", 1]]);
    expect(learnt).toHaveLength(75);
    const { manifest } = dataset;
    expect([manifest.rows, manifest.positives, manifest.training.duplicateIds]).toEqual([100, 52, 0]);
    const heldOut = await readHeldOut(dataset, files, { objects, parquet });
    expect([heldOut.rows, heldOut.labels[15]]).toEqual([25, 1]);

    const before = await compose(blocks, { acceptedAtMs: 2_999_999 });
    expect(before.manifest.positives).toBe(50);
    expect(before.manifest.filter.acceptedAtMs).toBe(2_999_999);
    const earlier = await compose(blocks, { streamTimeMs: 100 * HOUR });
    expect([earlier.manifest.rows, earlier.manifest.positives]).toEqual([100, 50]);
  });

  it("learns from events whose wait is over, where silence means no", async () => {
    // Positive labels come after an hour, the negative ones by silence after two: the newest known are all positive.
    const examples = many(100).map((one, n) =>
      n % 2 === 1 ? one : { ...one, knownAt: one.time + 2 * HOUR, labelled: "silence" as const },
    );
    const known = examples.filter(({ knownAt }) => knownAt <= 100 * HOUR);
    const { manifest } = await compose([await archive(known)], { line: lineOf("negative") });
    expect(known.slice(-2).map(({ label }) => label)).toEqual([0, 1]);
    expect(manifest.heldOut.maxTimeMs).toBe(97 * HOUR);
    expect([manifest.rows, manifest.positives]).toEqual([98, 49]);
  });

  it("is the same when it is opened again after a crash", async () => {
    const blocks = [await archive(many(100)), await archive([example(3, { label: 0, revision: 1 })])];
    const dataset = await compose(blocks);
    const bytes = readFileSync(dataset.files[0]!.file);
    rmSync(join(folder, "run"), { recursive: true });
    rmSync(join(folder, "blocks"), { recursive: true });
    const again = await reopenDataset(dataset.digest, join(folder, "run"), files, { objects, parquet });
    expect(again).toEqual(dataset);
    expect(readFileSync(again.files[0]!.file).equals(bytes)).toBe(true);
    expect(await readHeldOut(again, files, { objects, parquet })).toEqual(
      await readHeldOut(dataset, files, { objects, parquet }),
    );
    const text = Buffer.from(await objects.get(dataset.digest, { bytesMax: 1e6 })).toString();
    expect(parseManifest(text)).toEqual(dataset.manifest);
  });

  it("that cannot be learnt from is refused before anything is written", async () => {
    const blocks = [await archive(many(100).map((one) => ({ ...one, label: 0 })))];
    await expect(compose(blocks)).rejects.toThrow(/All 75 training labels are 0/);
    const other = [await archive(many(100).map((one) => ({ ...one, features: "other" })))];
    await expect(compose(other)).rejects.toThrow(/no examples of the last 10d/);
    expect(existsSync(join(folder, "run"))).toBe(false);
  });
});
