import { join } from "node:path";
import { BlockFiles, trainingSet } from "@millrace/archive";
import { readVector } from "@millrace/contracts";
import { createComputeTask } from "@millrace/feature";
import { PARQUET_MODULE, type Parquet } from "@millrace/parquet";
import { partitionOf } from "@millrace/stream";
import { memoryRecord } from "@millrace/testkit";
import { startChild } from "./child.ts";
import type { OfflineCost, OfflineJob } from "./offline-child.ts";
import { distinctPayments, paymentJson, type W1Parameters } from "./w1.ts";
import { acceptedAtMs, type W1Archive } from "./w1-archive.ts";
import { w1Line } from "./w1-line.ts";

export interface Offline {
  readonly topic: string;
  readonly partitions: number;
  /** Folder of the archive, and for what is made of it. */
  readonly folder: string;
  readonly archive: W1Archive;
  readonly threads: number;
}

export type OfflineRun = OfflineCost & { readonly out: string };

/** Makes the training set in a process of its own. */
export async function runOffline(
  { topic, partitions, folder, archive, threads }: Offline,
  how: OfflineJob["how"],
  stop: AbortSignal,
): Promise<OfflineRun> {
  const { blocks, questions } = archive;
  const out = join(folder, `${how}.parquet`);
  const scratch = join(folder, `scratch-${how}`);
  const job: OfflineJob = { how, topic, partitions, folder, blocks, questions, out, scratch, threads };
  const child = startChild("offline-child.ts", job, stop);
  try {
    const cost = (await child.said()) as OfflineCost;
    await child.end();
    return { ...cost, out };
  } finally {
    await child.kill();
  }
}

export interface Compared {
  readonly values: number;
  readonly different: number;
  /** The first that differs, in words. */
  readonly first: string | null;
}

/** Holds two files of vectors against each other, row by row and bit by bit; what is not known is NaN in both. */
export async function compareFiles(
  names: readonly string[],
  ours: string,
  theirs: string,
  parquet: Pick<Parquet, "read">,
): Promise<Compared> {
  const schema = Object.fromEntries(["n", ...names].map((name) => [name, "float64"] as const));
  const [a, b] = await Promise.all([parquet.read([ours], schema), parquet.read([theirs], schema)]);
  if (a.rows !== b.rows) throw new Error(`${ours} has ${a.rows} rows, ${theirs} ${b.rows}`);
  let different = 0;
  let first: string | null = null;
  for (const name of ["n", ...names]) {
    const [one, other] = [a.columns[name], b.columns[name]] as [Float64Array, Float64Array];
    for (let row = 0; row < a.rows; row++) {
      if (Object.is(one[row], other[row])) continue;
      different++;
      first ??= `${name} of question ${row} is ${one[row]} here and ${other[row]} there`;
    }
  }
  return { values: a.rows * names.length, different, first };
}

/**
 * Lets the compute task take the first `events` payments as the stream does, and asks the archive for each `every`-th
 * of them, in order of acceptance, as of just before it: holds the vectors against each other, bit by bit.
 */
export async function compareWithStream(
  { topic, partitions, folder, archive, threads }: Offline,
  parameters: W1Parameters,
  events: number,
  every: number,
  stop: AbortSignal,
): Promise<Compared> {
  const line = w1Line(topic, topic, "full", partitions);
  const tasks = Array.from({ length: partitions }, () => createComputeTask(line, "00".repeat(32), null));
  const offsets = new Array<number>(partitions).fill(0);
  const streamed: (readonly (number | null)[])[] = [];
  const asked: { account: string; merchant: string; cents: number; timeMs: number; knownAt: number }[] = [];
  let taken = 0;
  for (const [record, payment] of distinctPayments(parameters)) {
    if (taken === events) break;
    const { account, merchant, cents, timeMs } = payment;
    const partition = partitionOf(account, partitions);
    const value = paymentJson(payment);
    const offset = offsets[partition] as number;
    offsets[partition] = offset + 1;
    const isAsked = taken++ % every === 0;
    const timestampMs = acceptedAtMs(record);
    await tasks[partition]?.process(
      [memoryRecord({ topic, partition, offset, timestampMs, value })],
      (_cause, _topic, output) => {
        if (isAsked) streamed.push(readVector(Buffer.from(output.value as Uint8Array))?.values ?? []);
      },
    );
    if (isAsked) asked.push({ account, merchant, cents, timeMs, knownAt: timestampMs - 1 });
    if (taken % 10_000 === 0) stop.throwIfAborted();
  }
  const numbers = (of: (one: (typeof asked)[number]) => number): Float64Array => Float64Array.from(asked, of);
  const { names, values } = await trainingSet(
    line,
    {
      times: numbers(({ timeMs }) => timeMs),
      knownAt: numbers(({ knownAt }) => knownAt),
      fields: {
        account: asked.map(({ account }) => account),
        merchant: asked.map(({ merchant }) => merchant),
        amount: numbers(({ cents }) => cents),
      },
    },
    { order: "acceptance", knownAtMs: null, counted: "read" },
    {
      blocks: archive.blocks,
      files: new BlockFiles(folder, { getToFile: async () => {} }),
      scan: { module: PARQUET_MODULE, memoryMb: 512, scratch: join(folder, "scratch-stream") },
      threads,
      onProgress: () => {},
      signal: stop,
    },
  );
  let different = 0;
  let first: string | null = null;
  if (streamed.length !== asked.length)
    throw new Error(`${streamed.length} vectors for ${asked.length} payments`);
  streamed.forEach((vector, row) => {
    names.forEach((name, i) => {
      const [one, other] = [values[row * names.length + i] as number, vector[i] ?? Number.NaN];
      if (Object.is(one, other)) return;
      different++;
      first ??= `${name} of payment ${row * every} is ${one} here and ${other} on the stream`;
    });
  });
  return { values: asked.length * names.length, different, first };
}
