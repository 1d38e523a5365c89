/**
 * The checkers and how each is called. `check.ts` runs them over the repository; the planted faults in
 * `architecture/` prove that each still sees what it is there for.
 */
import { spawn } from "node:child_process";
import { delimiter, dirname, join } from "node:path";

/** Program in node_modules/.bin, then its arguments. (knip.json names the programs that only this file calls.) */
export type Command = readonly [program: string, ...args: readonly string[]];

export const CHECKERS: Readonly<Record<"types" | "lint" | "boundaries" | "format" | "dead code", Command>> = {
  types: ["tsc", "-p", "."],
  lint: ["oxlint", "--type-aware", "--deny-warnings"],
  boundaries: ["turbo", "boundaries", "--no-color"],
  format: ["biome", "check", "--max-diagnostics=50"],
  "dead code": ["knip", "--no-progress"],
};

export interface Outcome {
  readonly ok: boolean;
  /** Both streams together; empty when they went to the terminal. */
  readonly output: string;
  readonly seconds: number;
}

export interface RunOptions {
  /** A folder with the project in it, `node_modules` included. */
  readonly cwd: string;
  /** Ends the program. */
  readonly stop?: AbortSignal;
  /** Leaves the terminal to the program. */
  readonly live?: boolean;
}

/** Runs a program of the project to its end, under the Node that runs this. */
export function run([program, ...args]: Command, options: RunOptions): Promise<Outcome> {
  const { cwd, stop, live } = options;
  const startedAt = performance.now();
  const child = spawn(join(cwd, "node_modules/.bin", program), args, {
    cwd,
    env: {
      ...process.env,
      PATH: [dirname(process.execPath), process.env["PATH"]].join(delimiter),
      DO_NOT_TRACK: "1",
      TURBO_TELEMETRY_DISABLED: "1",
      ...(live ? {} : { NO_COLOR: "1" }),
    },
    stdio: live ? "inherit" : ["ignore", "pipe", "pipe"],
    ...(stop === undefined ? {} : { signal: stop }),
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  child.once("error", (error) => {
    output += `${program}: ${error.message}\n`;
  });
  return new Promise((resolve) => {
    child.once("close", (code) =>
      resolve({ ok: code === 0, output, seconds: (performance.now() - startedAt) / 1_000 }),
    );
  });
}
