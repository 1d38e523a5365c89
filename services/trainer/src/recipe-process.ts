import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Log } from "@millrace/runtime";
import { EXIT, type RecipeManifest, type Report, reportSchema } from "../recipes/kit/contract.ts";

/** How a recipe's process ended. `reason` is a sentence for people. */
export type RecipeEnd = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface RecipeStart {
  readonly recipe: RecipeManifest;
  /** The recipe's folder: where it is started. */
  readonly folder: string;
  readonly jobFile: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Wall-clock seconds after which it is asked to stop. */
  readonly seconds: number;
  readonly onReport: (report: Report) => void;
}

/** Between the request to keep a checkpoint and stop, and the kill. */
const GRACE_MS = 5_000;
const STDERR_MAX = 2_000;

/**
 * Runs a recipe as a child process to its end. It is asked to stop when its time is over or the signal aborts, and
 * killed after a grace time. It sees only the environment variables given.
 */
export function runRecipe(start: RecipeStart, log: Log, signal: AbortSignal): Promise<RecipeEnd> {
  const { recipe, seconds } = start;
  const [program, ...rest] = recipe.command as [string, ...string[]];
  const [command, flags] = program === "node" ? [process.execPath, process.execArgv] : [program, []];
  const child = spawn(command, [...flags, ...rest, start.jobFile], {
    cwd: start.folder,
    env: start.environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_MAX);
  });
  createInterface({ input: child.stdout }).on("line", (text) => {
    const report = readReport(text);
    if (report === null) log.debug({ recipe: recipe.name, text }, "recipe output");
    else start.onReport(report);
  });

  let isLate = false;
  let kill: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill("SIGTERM");
    kill ??= setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  };
  const late = setTimeout(() => {
    isLate = true;
    stop();
  }, seconds * 1_000);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();

  return new Promise((resolve) => {
    const end = (result: RecipeEnd): void => {
      clearTimeout(late);
      clearTimeout(kill);
      signal.removeEventListener("abort", stop);
      resolve(result);
    };
    child.once("error", (error) => end({ ok: false, reason: `it could not be started: ${error.message}` }));
    child.once("close", (code, killedBy) => {
      if (code === EXIT.ok) return end({ ok: true });
      const said = lastLine(stderr);
      if (isLate) end({ ok: false, reason: `it did not finish within ${seconds} s` });
      else end({ ok: false, reason: reasonOf(code, killedBy) + (said === "" ? "" : `: ${said}`) });
    });
  });
}

function readReport(text: string): Report | null {
  try {
    return reportSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null; // a library's chatter
  }
}

function reasonOf(code: number | null, killedBy: NodeJS.Signals | null): string {
  switch (code) {
    case EXIT.badJob:
      return "it refused the job";
    case EXIT.badData:
      return "it refused the data";
    case EXIT.libraryMissing:
      return "a library is missing";
    case EXIT.stopped:
      return "it was stopped";
    case null:
      return `it was ended by ${killedBy ?? "an unknown signal"}`;
    default:
      return `it failed with exit code ${code}`;
  }
}

const lastLine = (text: string): string =>
  text
    .split("\n")
    .findLast((line) => line.trim() !== "")
    ?.trim() ?? "";
