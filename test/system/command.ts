import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { REPOSITORY } from "@millrace/local";

/** The command `millrace`, as a person would run it, with `--json`. */
export interface Command {
  readonly pid: number;
  /** What it said on standard error so far. */
  said(): string;
  /** Resolves when it has said something that matches; throws when it ends without. */
  says(pattern: RegExp): Promise<void>;
  readonly ended: Promise<CommandEnd>;
  kill(): void;
}

export interface CommandEnd {
  readonly code: number | null;
  /** Standard output. */
  readonly output: string;
}

export function startCommand(args: readonly string[], env: Readonly<Record<string, string>>): Command {
  const child = spawn("node", [join(REPOSITORY, "services/cli/bin/millrace.mjs"), ...args, "--json"], {
    cwd: REPOSITORY,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (child.pid === undefined) throw new Error("millrace could not be started");
  let output = "";
  let said = "";
  const listeners = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    for (const listener of listeners) listener();
  });
  const ended = once(child, "close").then(([code]): CommandEnd => ({ code: code as number | null, output }));
  return {
    pid: child.pid,
    said: () => said,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const listener = (): void => {
          if (!pattern.test(said)) return;
          listeners.delete(listener);
          resolve();
        };
        listeners.add(listener);
        listener();
        void ended.then(() => reject(new Error(`millrace ended without saying ${pattern}:\n${said}`)));
      }),
    ended,
    kill: () => void child.kill("SIGTERM"),
  };
}

/** Runs it to its end and answers its JSON. Throws when it fails. */
export async function runCommandJson<T>(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<T> {
  const command = startCommand(args, env);
  const { code, output } = await command.ended;
  if (code !== 0) throw new Error(`millrace ${args.join(" ")} ended with ${code}: ${command.said()}`);
  return JSON.parse(output) as T;
}
