import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { runCommand } from "@millrace/local";
import { sleep } from "@millrace/runtime";

/** The core of what is measured, and the core of who measures it and of all other servers. Linux numbers them so. */
export const SERVER_CORE = 0;
export const LOADER_CORE = 1;

export interface PinnedCommand {
  /** For people. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly core: number;
  /** Whether it serves already; asked every 10 ms. A rejection means not yet. */
  readonly ready: () => Promise<boolean>;
}

/** A process on one core, from the moment it serves. */
export interface PinnedProcess {
  readonly pid: number;
  /** From its start until it served. */
  readonly startMs: number;
  /** Aborts with what it said last when the process ends by itself. */
  readonly failed: AbortSignal;
  /** Ends it as an operator would, and by force where that takes more than 15 s. */
  stop(): Promise<void>;
}

const READY_MS = 60_000;
const POLL_MS = 10;
/** Longer than a service gives itself. */
const STOP_MS = 15_000;
const KEPT = 4_096;

/** Starts a process and waits until it serves. Throws with what it said when it ends before, or takes 60 s. */
export async function startPinned(wanted: PinnedCommand, stop: AbortSignal): Promise<PinnedProcess> {
  const { name, command, args, env, core, ready } = wanted;
  const startedAt = performance.now();
  const child: ChildProcess = spawn("taskset", ["--cpu-list", String(core), command, ...args], {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    signal: stop,
    killSignal: "SIGKILL",
  });
  child.once("error", () => {}); // it was stopped
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("utf8")).slice(-KEPT);
    });
  }
  let expected = false;
  const failed = new AbortController();
  const ended = once(child, "close")
    .catch(() => {}) // it was stopped
    .then(() => {
      if (!expected) failed.abort(new Error(`${name} ended by itself:\n${said}`));
    });
  const end = async (): Promise<void> => {
    expected = true;
    child.kill("SIGTERM");
    const forced = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(forced);
  };
  while (!(await ready().catch(() => false))) {
    failed.signal.throwIfAborted();
    if (performance.now() - startedAt > READY_MS) {
      await end();
      throw new Error(`${name} does not serve after ${READY_MS / 1_000} s:\n${said}`);
    }
    await sleep(POLL_MS);
  }
  return { pid: child.pid ?? 0, startMs: performance.now() - startedAt, failed: failed.signal, stop: end };
}

/** Pins processes that run already, all their threads. */
export async function pin(processes: readonly { readonly pid?: number }[], core: number): Promise<void> {
  for (const { pid } of processes) {
    await runCommand("taskset", ["--all-tasks", "--cpu-list", "--pid", String(core), String(pid)]);
  }
}

/** Ports of loopback that nobody has now; all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Whether a URL answers with 200. */
export const answers = async (url: string): Promise<boolean> => (await fetch(url)).ok;
