/** A process that makes one training set, and says what it cost: `startChild("offline-child.ts", OfflineJob, ...)`. */
import { BlockFiles, readQuestions, trainingSet } from "@millrace/archive";
import { openParquet, PARQUET_MODULE } from "@millrace/parquet";
import type { Block } from "@millrace/stream";
import { type Formulation, offlineSql } from "./offline-sql.ts";
import { w1Line } from "./w1-line.ts";

export interface OfflineJob {
  readonly how: "replay" | Formulation;
  readonly topic: string;
  readonly partitions: number;
  /** Folder of the archive. */
  readonly folder: string;
  readonly blocks: readonly Block[];
  readonly questions: string;
  readonly out: string;
  readonly scratch: string;
  readonly threads: number;
}

export interface OfflineCost {
  /** From two files to one, DuckDB's and threads' start included. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakRssMb: number;
}

/** For sorting; the state of the engines comes beside it. */
const REPLAY_MEMORY_MB = 1_024;
/** More than it needs. */
const SQL_MEMORY_MB = 6_144;

const job = JSON.parse(process.argv[2] as string) as OfflineJob;
const startedAt = performance.now();
const cpu = process.cpuUsage();
await (job.how === "replay" ? replay(job) : query(job, job.how));
const { user, system } = process.cpuUsage(cpu);
const cost: OfflineCost = {
  seconds: (performance.now() - startedAt) / 1_000,
  cpuSeconds: (user + system) / 1e6,
  peakRssMb: process.resourceUsage().maxRSS / 1_024,
};
process.stdout.write(`${JSON.stringify(cost)}\n`);

async function replay({
  topic,
  partitions,
  folder,
  blocks,
  questions,
  out,
  scratch,
  threads,
}: OfflineJob): Promise<void> {
  const line = w1Line(topic, topic, "full", partitions);
  const parquet = await openParquet({ memoryMb: REPLAY_MEMORY_MB, threads, scratch });
  const table = await parquet.openTable(questions);
  const asked = await readQuestions(line, table);
  const { names, values } = await trainingSet(
    line,
    asked,
    { order: "event-time", knownAtMs: null, counted: "readByKey" },
    {
      blocks,
      files: new BlockFiles(folder, {
        getToFile: async (digest) => {
          throw new Error(`block ${digest} is not in ${folder}`);
        },
      }),
      scan: { module: PARQUET_MODULE, memoryMb: REPLAY_MEMORY_MB, scratch },
      threads,
      onProgress: () => {},
      signal: new AbortController().signal,
    },
  );
  const rows = asked.times.length;
  const columns = names.map((name, i) => {
    const column = new Float64Array(rows);
    for (let row = 0; row < rows; row++) column[row] = values[row * names.length + i] as number;
    return [name, { kind: "float64", values: column }] as const;
  });
  await table.writeWith(out, null, Object.fromEntries(columns));
  parquet.close();
}

async function query(
  { folder, blocks, questions, out, scratch, threads }: OfflineJob,
  how: Formulation,
): Promise<void> {
  const parquet = await openParquet({ memoryMb: SQL_MEMORY_MB, threads, scratch });
  const files = blocks.map(({ digest }) => `${folder}/${digest}.parquet`);
  for (const sql of offlineSql(how, { files, questions, out })) {
    for await (const _ of parquet.queryBatches(sql)); // until it is done
  }
  parquet.close();
}
