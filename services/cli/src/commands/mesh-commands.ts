/** `up` and `down`: the mesh on this machine. */
import { spawn } from "node:child_process";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "@millrace/runtime";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import { type Part, SERVICES } from "../mesh.ts";
import { isReady } from "../status.ts";

const DETACHED_MS = 10 * 60_000;
const POLL_MS = 250;

/** Runs the mesh until Ctrl-C. */
export async function up(context: Context): Promise<Result> {
  const { io, local, stop } = context;
  const say = (text: string): void => (context.json ? io.writeError(`${text}\n`) : io.write(`${text}\n`));
  const known = new Map<string, string>();
  const onChange = (parts: readonly Part[]): void => {
    for (const { name, state } of parts) {
      if (known.get(name) === state) continue;
      known.set(name, state);
      say(`${name} ${state}`);
    }
  };
  const mesh = await local.start(onChange, say);
  try {
    say(`the mesh runs in ${local.home}; Ctrl-C stops it`);
    if (!stop.aborted) {
      // A pending promise alone keeps no process alive; the mesh's own handles do.
      await new Promise<void>((resolve) => stop.addEventListener("abort", () => resolve()));
    }
  } finally {
    await mesh.stop();
  }
  return { json: { stopped: true, home: local.home }, text: "stopped" };
}

/** Starts the mesh in the background and waits until every service is ready. */
export async function upDetached(context: Context, program: readonly string[]): Promise<Result> {
  const { local, stop } = context;
  const folder = join(local.home, "logs");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, "up.log");
  const log = await open(file, "w", 0o600);
  const child = spawn(process.execPath, [...program, "up"], {
    detached: true,
    stdio: ["ignore", log.fd, log.fd],
    env: context.config.environment as NodeJS.ProcessEnv,
  });
  await log.close();
  let ended: string | null = null;
  child.once("error", (error) => {
    ended = error.message;
  });
  child.once("exit", (code) => {
    ended = `code ${code}`;
  });
  const startedAtMs = context.now();
  while (!stop.aborted) {
    if (ended !== null) {
      const text = await readFile(file, "utf8").catch(() => "");
      throw new Failure(
        `the mesh did not start (${ended}):\n${text.trim().split("\n").slice(-12).join("\n")}`,
        "`npx millrace doctor` says what is missing.",
      );
    }
    if ((await readFile(file, "utf8")).includes("the mesh runs in")) break;
    if (context.now() - startedAtMs > DETACHED_MS) {
      throw new Failure(
        "the mesh is not up after 10 minutes",
        `Look into ${file}; \`npx millrace down\` stops it.`,
      );
    }
    await sleep(POLL_MS, stop);
  }
  child.unref();
  const address = await context.address();
  const ready = await Promise.all(SERVICES.map((name) => isReady(address.ops[name])));
  return {
    json: { home: local.home, supervisor: child.pid, ready: ready.every(Boolean) },
    text: `the mesh runs in the background (supervisor ${child.pid}); \`npx millrace down\` stops it`,
  };
}

/** Stops the mesh of the home folder, whoever runs it. */
export async function down(context: Context): Promise<Result> {
  const stopped = await context.local.down();
  return {
    json: { stopped },
    text: stopped.length === 0 ? "nothing was running" : `stopped ${stopped.join(", ")}`,
  };
}
