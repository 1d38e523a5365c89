import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Runs a script of this folder as a process of its own, that a test can kill. It loads its modules at once and says
 * `ready`; what it does begins with `begin`. Its other lines come to `onLine`.
 */
export class Child {
  readonly #process: ChildProcess;
  readonly #ready: Promise<void>;
  readonly #ended: Promise<unknown>;
  onLine: (line: string) => void = () => {};

  constructor(script: string) {
    const compiled = { NODE_COMPILE_CACHE: join(tmpdir(), "millrace-kit-compiled") };
    this.#process = spawn(process.execPath, [join(import.meta.dirname, script)], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { ...process.env, ...compiled },
    });
    this.#process.stdin?.on("error", () => {}); // it may have been killed
    this.#ended = once(this.#process, "exit");
    let rest = "";
    this.#ready = new Promise((resolve) => {
      this.#process.stdout?.setEncoding("utf8").on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line === "ready") resolve();
          else this.onLine(line);
        }
      });
    });
  }

  /** Resolves when its modules are loaded and it has been told what to do. */
  async begin(argument: object): Promise<void> {
    await this.#ready;
    this.#process.stdin?.write(`${JSON.stringify(argument)}\n`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Ends it: with SIGTERM as it likes, with SIGKILL at once. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.#process.kill(signal);
    await this.#ended;
  }
}

/** In the child: says that it is ready, and waits for its argument. */
export async function untilBegun<T>(): Promise<T> {
  process.stdout.write("ready\n");
  const [line] = (await once(process.stdin, "data")) as [Buffer];
  return JSON.parse(line.toString()) as T;
}
