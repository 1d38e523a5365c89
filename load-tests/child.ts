import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** A program of this folder that is told by one JSON argument and says JSON lines. */
export interface Child {
  readonly pid: number;
  /** The next line that it says. Rejects when it ends before. */
  said(): Promise<unknown>;
  tell(value: object): void;
  /** Ends its standard input and waits until it has ended. */
  end(): Promise<void>;
  kill(): Promise<void>;
}

export function startChild(file: string, told: object, stop: AbortSignal): Child {
  const child: ChildProcess = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, file), JSON.stringify(told)],
    { stdio: ["pipe", "pipe", "inherit"], signal: stop, killSignal: "SIGKILL" },
  );
  child.once("error", () => {}); // it was stopped
  const ended = once(child, "close");
  const lines: string[] = [];
  let rest = "";
  let wake = (): void => {};
  child.stdout?.on("data", (chunk: Buffer) => {
    rest += chunk.toString("utf8");
    const parts = rest.split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
    wake();
  });
  return {
    pid: child.pid ?? 0,
    said: async () => {
      while (lines.length === 0) {
        const woken = new Promise<"line">((resolve) => {
          wake = () => resolve("line");
        });
        const which = await Promise.race([woken, ended.then(() => "end" as const)]);
        if (which === "end" && lines.length === 0) throw new Error(`${file} ended without a word`);
      }
      return JSON.parse(lines.shift() as string);
    },
    tell: (value) => void child.stdin?.write(`${JSON.stringify(value)}\n`),
    end: async () => {
      child.stdin?.end();
      await ended;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
