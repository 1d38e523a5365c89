/** The two JVM peers of the feature service, built from `peers/` on demand and measured like any system. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CacheEntry,
  cacheFolder,
  ensureEntry,
  javaProgram,
  type KafkaConnection,
  progressLine,
} from "@millrace/local";
import type { Context } from "./claim.ts";
import { kafkaClient } from "./kafka-client.ts";
import { measureProcess, type ProcessFigures } from "./measure-process.ts";
import { type Outputs, readOutputs } from "./outputs.ts";
import type { Decimals } from "./w1-features.ts";
import { createTopic, type W1Input } from "./w1-input.ts";

export interface PeerRun {
  readonly connection: KafkaConnection;
  readonly input: W1Input;
  /** The output topic, which is created; it also names the peer's group, transactions and internal topics. */
  readonly output: string;
  readonly decimals: Decimals;
  /** Of the Java heap; 2,048 unless said, which is plenty for W1. */
  readonly heapMb?: number;
}

export interface PeerFigures extends ProcessFigures {
  readonly outputs: Outputs;
}

interface Peer {
  readonly entry: CacheEntry;
  readonly mainClass: string;
}

const PEERS = join(import.meta.dirname, "peers");
const LIMIT_SECONDS = 600;
const HEAP_MB = 2_048;
const OUTPUT_KEPT = 4_096;

const peer = (name: string, mainClass: string): Peer => ({
  entry: javaProgram(`peer-${name}`, join(PEERS, name), [join(PEERS, "features"), join(PEERS, name)]),
  mainClass: `millrace.peers.${mainClass}`,
});
const KAFKA_STREAMS = peer("kafka-streams", "KafkaStreamsPeer");
const FLINK = peer("flink", "FlinkPeer");

/** Kafka Streams: Processor API, RocksDB, exactly_once_v2 with commits each 100 ms, two threads. */
export const runKafkaStreams: (run: PeerRun, context: Context) => Promise<PeerFigures> = (run, context) =>
  measurePeer(KAFKA_STREAMS, run, context);

/** Flink: keyed process function, state on the heap, exactly-once sink with checkpoints each second, two slots. */
export const runFlink: (run: PeerRun, context: Context) => Promise<PeerFigures> = (run, context) =>
  measurePeer(FLINK, run, context);

/**
 * Starts the peer over all the input and measures until it has ended. Throws when it fails, with what it said last.
 * It leaves its topics in Kafka, and nothing else.
 */
async function measurePeer(
  { entry, mainClass }: Peer,
  run: PeerRun,
  { say, stop }: Context,
): Promise<PeerFigures> {
  const folder = await ensureEntry(entry, {
    cache: cacheFolder(),
    onProgress: (progress) => say(progressLine(progress)),
  });
  const kafka = kafkaClient(run.connection);
  await createTopic(kafka, run.output, run.input.partitions);
  const state = await mkdtemp(join(tmpdir(), "millrace-peer-"));
  const { PATH = "", HOME = "" } = process.env;
  const { brokers, username = "", password = "" } = run.connection;
  const child = spawn(
    "java",
    [
      `-Xmx${run.heapMb ?? HEAP_MB}m`,
      "-XX:+UseParallelGC",
      "-XX:+ExitOnOutOfMemoryError",
      `-Djava.io.tmpdir=${state}`,
      "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
      "-cp",
      "classes:libs/*",
      mainClass,
      `--brokers=${brokers}`,
      `--input=${run.input.topic}`,
      `--output=${run.output}`,
      `--decimals=${run.decimals}`,
      `--events=${run.input.records}`,
      `--state=${state}`,
      `--limit-seconds=${LIMIT_SECONDS}`,
    ],
    {
      cwd: folder,
      env: { PATH, HOME, LANG: "C.UTF-8", KAFKA_USERNAME: username, KAFKA_PASSWORD: password },
      stdio: "pipe", // it ends with its standard input
    },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("utf8")).slice(-OUTPUT_KEPT);
    });
  }
  const ended = once(child, "close").then(([code]) => {
    if (code !== 0) throw new Error(`${mainClass} ended with code ${code}:\n${said}`);
  });
  const failed = new AbortController();
  ended.catch((error: unknown) => failed.abort(error));
  try {
    const figures = await measureProcess({
      kafka,
      pids: [child.pid ?? 0],
      topic: run.output,
      outputs: run.input.payments,
      stop: AbortSignal.any([stop, failed.signal]),
    });
    await ended;
    return { ...figures, outputs: await readOutputs(kafka, run.output, stop) };
  } finally {
    child.kill("SIGKILL");
    await ended.catch(() => {}); // told by `failed` already
    await rm(state, { recursive: true, force: true });
  }
}
