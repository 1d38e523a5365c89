/**
 * The load generator: a compiled gRPC client (`loader/`, Go), because what is measured answers more calls a second than
 * one core of Node can send. It is built on demand into the cache, and runs on the loader's core.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cacheFolder, ensureEntry, goProgram, progressLine } from "@millrace/local";
import type { Context } from "./claim.ts";
import { LOADER_CORE } from "./pinned-process.ts";
import { usageOf, withDescendants } from "./process-usage.ts";

export const MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer";
export const SERVER_LIVE = "/inference.GRPCInferenceService/ServerLive";

/** Calls kept in flight over all connections, or calls a second, whatever becomes of them. */
export type Pace = { readonly calls: number } | { readonly perSecond: number };

export interface Load {
  /** Of loopback. */
  readonly port: number;
  readonly path: string;
  /** Serialised requests, sent in turn. */
  readonly messages: readonly Uint8Array[];
  /** What is to be answered to each, and how far from it an answer may be; unchecked where it is left out. */
  readonly expected?: { readonly scores: readonly Float32Array[]; readonly tolerance: number };
  readonly pace: Pace;
  readonly connections?: number;
  /** A call that is so old is given up; never unless said. */
  readonly deadlineMs?: number;
  /** Calls of the first so many seconds are not counted. */
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** Of the figures on the way; 1,000 unless said. */
  readonly intervalMs?: number;
  /** Ends the load before its time, and has the figures until then. */
  readonly enough?: AbortSignal;
}

/** In ms, of good answers, from the moment each call was due. */
export interface Latencies {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface Interval {
  /** Seconds from the first counted call. */
  readonly endsAt: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly latencyMs: Latencies;
}

export interface LoadFigures {
  /** Good answers. */
  readonly perSecond: number;
  readonly answered: number;
  /** Good answers of the warm-up. */
  readonly warmedUp: number;
  readonly failed: number;
  /** Good answers with other values than expected. */
  readonly wrong: number;
  /** Calls that were still under way 10 s after the end: the server hangs. */
  readonly unanswered: number;
  /** Calls by gRPC status, and the first message of each that is not good. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly messages: Readonly<Record<string, string>>;
  /** Good answers by the model_version that gave them. */
  readonly versions: Readonly<Record<string, number>>;
  readonly latencyMs: Latencies;
  readonly connections: number;
  readonly goAways: number;
  readonly intervals: readonly Interval[];
}

const LOADER = goProgram("loader", ".", join(import.meta.dirname, "loader"));

export type Loader = (load: Load, stop: AbortSignal) => Promise<LoadFigures>;

/** The generator, built where it is missing: needs Go, and the network once. */
export async function ensureLoader({ say }: Pick<Context, "say">): Promise<Loader> {
  const folder = await ensureEntry(LOADER, {
    cache: cacheFolder(),
    onProgress: (progress) => say(progressLine(progress)),
  });
  return (load, stop) => runLoad(join(folder, "loader"), load, stop);
}

async function runLoad(file: string, load: Load, stop: AbortSignal): Promise<LoadFigures> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-load-"));
  try {
    const keep = (kind: string, values: readonly Uint8Array[]): Promise<string[]> =>
      Promise.all(
        values.map(async (bytes, i) => {
          await writeFile(join(folder, `${kind}-${i}`), bytes);
          return `-${kind}=${join(folder, `${kind}-${i}`)}`;
        }),
      );
    const messages = await keep("message", load.messages);
    const expected = await keep(
      "expect",
      (load.expected?.scores ?? []).map(
        (scores) => new Uint8Array(scores.buffer, scores.byteOffset, scores.byteLength),
      ),
    );
    return await spawnLoader(file, [...optionsOf(load), ...messages, ...expected], load.enough, stop);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function optionsOf(load: Load): string[] {
  const { pace } = load;
  return [
    `-address=127.0.0.1:${load.port}`,
    `-path=${load.path}`,
    "calls" in pace ? `-calls=${pace.calls}` : `-rate=${pace.perSecond}`,
    `-connections=${load.connections ?? 1}`,
    `-deadline=${load.deadlineMs ?? 0}ms`,
    `-warmup=${load.warmupSeconds}s`,
    `-duration=${load.seconds}s`,
    `-interval=${load.intervalMs ?? 1_000}ms`,
    `-tolerance=${load.expected?.tolerance ?? 0}`,
  ];
}

async function spawnLoader(
  file: string,
  options: readonly string[],
  enough: AbortSignal | undefined,
  stop: AbortSignal,
): Promise<LoadFigures> {
  const child = spawn("taskset", ["--cpu-list", String(LOADER_CORE), file, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { GOMAXPROCS: "1" },
    signal: stop,
    killSignal: "SIGKILL",
  });
  enough?.addEventListener("abort", () => child.kill("SIGTERM"));
  const intervals: Interval[] = [];
  let problems = "";
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line.startsWith("{")) intervals.push(JSON.parse(line) as Interval);
    else problems += `${line}\n`;
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`the load generator failed:\n${problems}`);
  return { ...(JSON.parse(output) as Omit<LoadFigures, "intervals">), intervals };
}

export interface ServerFigures extends LoadFigures {
  /** Processor time of the server and its children, in microseconds for each good answer. */
  readonly cpuMicrosPerCall: number;
  /** The most that they have held so far. */
  readonly peakRssMb: number;
}

/** Runs a load, and looks at what the server uses meanwhile. */
export async function measureServer(pid: number, load: () => Promise<LoadFigures>): Promise<ServerFigures> {
  const pids = await withDescendants([pid]);
  const before = await usageOf(pids);
  const figures = await load();
  const after = await usageOf(pids);
  if (before === null || after === null) throw new Error("the server ended under the load");
  const calls = figures.answered + figures.warmedUp;
  return {
    ...figures,
    cpuMicrosPerCall: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / calls,
    peakRssMb: after.peakRssMb,
  };
}

/** What was wrong with a load on which nothing may be wrong; one sentence each. */
export function faultsOf(name: string, { failed, wrong, unanswered, messages }: LoadFigures): string[] {
  return [
    ...(failed === 0 ? [] : [`${name}: ${failed} calls failed: ${JSON.stringify(messages)}`]),
    ...(wrong === 0 ? [] : [`${name}: ${wrong} answers are wrong`]),
    ...(unanswered === 0 ? [] : [`${name}: ${unanswered} calls were never answered`]),
  ];
}

/** For people: `14,460 /s, p50 4.70 ms, p99 6.70 ms`. */
export function loadLine({ perSecond, latencyMs: { p50, p99 } }: LoadFigures): string {
  return `${Math.round(perSecond).toLocaleString("en")} /s, p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
}
