import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { LineDefinition } from "@millrace/lines";
import { compileCache, type KafkaConnection, SERVICE_NODE_FLAGS } from "@millrace/local";

/** What a process of the feature service is told. */
export interface FeatureProcess {
  readonly line: LineDefinition;
  /** Its own folder: another process of the same line has another one. */
  readonly folder: string;
  readonly brokers: readonly string[];
  readonly sasl: { readonly username: string; readonly password: string } | null;
  readonly token: string;
}

export interface RunningFeature {
  readonly pid: number;
  /** Of the online features; any caller needs `TOKEN`. */
  readonly port: number;
  /** Aborts with what it said last when the process ends by itself. */
  readonly failed: AbortSignal;
  /** Ends it as an operator would. */
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
}

export const TOKEN = "a-token-for-measurements";
const SCRIPT = join(import.meta.dirname, "feature-process.ts");
const KEPT = 4_096;

/** Starts the feature service over a line; resolves when it serves. Its memory and time are those of its process alone. */
export async function runFeature(
  line: LineDefinition,
  folder: string,
  { brokers, username, password }: KafkaConnection,
): Promise<RunningFeature> {
  const told: FeatureProcess = {
    line,
    folder,
    brokers: brokers.split(","),
    sasl: username === undefined ? null : { username, password: password ?? "" },
    token: TOKEN,
  };
  const child: ChildProcess = spawn(process.execPath, [...SERVICE_NODE_FLAGS, SCRIPT, JSON.stringify(told)], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache() },
  });
  let said = "";
  let expected = false;
  const failed = new AbortController();
  const ended = once(child, "close").then(() => {
    if (!expected) failed.abort(new Error(`the feature process ended by itself:\n${said}`));
  });
  const ready = new Promise<number>((resolve, reject) => {
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString("utf8");
      const line = output.split("\n").find((one) => one.includes('"ready"'));
      if (line !== undefined) resolve((JSON.parse(line) as { port: number }).port);
    });
    failed.signal.addEventListener("abort", () => reject(failed.signal.reason as Error));
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("utf8")).slice(-KEPT);
    });
  }
  const port = await ready;
  return {
    pid: child.pid ?? 0,
    port,
    failed: failed.signal,
    stop: async () => {
      expected = true;
      child.stdin?.end();
      await ended;
    },
    kill: async () => {
      expected = true;
      child.kill("SIGKILL");
      await ended;
    },
  };
}
