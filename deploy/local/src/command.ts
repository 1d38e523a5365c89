import { spawn } from "node:child_process";

const KEPT_BYTES = 16_384;

/** A command that failed; the message holds the end of its output. */
class CommandError extends Error {
  constructor(command: string, reason: string, output: string) {
    super(`\`${command}\` ${reason}${output === "" ? "" : `:\n${output}`}`);
    this.name = "CommandError";
  }
}

/** Runs a program to its end and answers its output, at most the last 16 KiB. Throws a CommandError. */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const command = [program, ...args].join(" ");
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString("utf8")).slice(-KEPT_BYTES);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.once("error", (error) =>
      reject(new CommandError(command, `could not be started: ${error.message}`, "")),
    );
    child.once("close", (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new CommandError(command, `ended with ${signal ?? `code ${code}`}`, output.trim()));
    });
  });
}
