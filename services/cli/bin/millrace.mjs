#!/usr/bin/env node
// Runs the command with the Node that npm installed with the project, whatever `node` the machine has:
// the sources are TypeScript, which older versions cannot run.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const main = resolve(here, "../src/main.ts");
const [major] = process.versions.node.split(".").map(Number);

if (major >= 24) {
  // The Kafka client sets timers in the past; Node would write a warning into every command's output.
  process.removeAllListeners("warning");
  process.on("warning", ({ name, message }) => {
    if (name !== "TimeoutNegativeWarning") process.stderr.write(`${name}: ${message}\n`);
  });
  await import(main);
} else {
  const pinned = resolve(here, `../../../node_modules/node-${process.platform}-${process.arch}/bin/node`);
  if (!existsSync(pinned)) {
    process.stderr.write(
      `millrace needs Node 24 and runs on ${process.versions.node}, and the pinned one is not installed.\n` +
        "Run `npm install` in the repository, or put Node 24 or later first in your PATH.\n",
    );
    process.exit(1);
  }
  const child = spawn(pinned, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  // The terminal sends Ctrl-C to both; the child decides when to end, and this process passes on how it ended.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("error", (error) => {
    process.stderr.write(`millrace could not start ${pinned}: ${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]));
}
