/**
 * `npm run check`: types, lint, boundaries, format and the tests that need no servers, in about a minute; with
 * `--full` dead code as well. `npm test` calls it with `--all`: it also builds the servers and runs every test.
 * One line per check; what a check printed follows only when it failed. The last line counts checks and tests.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureLightgbm } from "@millrace/local";
import { CHECKERS, type Command, type Outcome, run } from "./checkers.ts";

const ROOT = join(import.meta.dirname, "..");
const FAST_PROJECTS = ["unit", "flow", "architecture"];

const [mode = "", ...rest] = process.argv.slice(2);
if (!["", "--full", "--all"].includes(mode) || rest.length > 0) {
  process.stderr.write("usage: npm run check [-- --full]; single tests: npx vitest run FILE\n");
  process.exit(2);
}
const all = mode === "--all";
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => interrupted.abort());

let passed = 0;
let failed = 0;

if (all && (await check("servers", ["node", "deploy/local/src/warm.ts"], true))) {
  // Without it the tests of the LightGBM recipe sit out, which is right only where nothing may be built.
  process.env["MILLRACE_LIGHTGBM_LIBRARY"] ??= await ensureLightgbm();
}
const { "dead code": deadCode, ...fast } = CHECKERS;
const still = async (): Promise<void> => {
  for (const [name, command] of Object.entries(fast)) await check(name, command);
  if (mode !== "") await check("dead code", deadCode);
};
if (all) {
  await still();
  await tests([], true);
} else {
  await Promise.all([
    still(),
    tests(
      FAST_PROJECTS.map((name) => `--project=${name}`),
      false,
    ),
  ]);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = interrupted.signal.aborted ? 130 : failed === 0 ? 0 : 1;

/** A checker; counts as one. Answers whether it passed. */
async function check(name: string, command: Command, live = false): Promise<boolean> {
  if (interrupted.signal.aborted) return false;
  const outcome = await run(command, { cwd: ROOT, stop: interrupted.signal, live });
  if (outcome.ok) passed++;
  else failed++;
  report(name, outcome);
  return outcome.ok;
}

/** The tests of some projects (none named: all); each test counts. */
async function tests(projects: readonly string[], live: boolean): Promise<void> {
  if (interrupted.signal.aborted) return;
  const folder = await mkdtemp(join(tmpdir(), "millrace-check-"));
  const file = join(folder, "tests.json");
  const reporters = [
    `--reporter=${live ? "default" : "dot"}`,
    "--reporter=json",
    `--outputFile.json=${file}`,
  ];
  const command: Command = ["vitest", "run", ...projects, ...reporters];
  const outcome = await run(command, { cwd: ROOT, stop: interrupted.signal, live });
  const counted = await count(file).catch(() => ({ passed: 0, failed: 0 }));
  await rm(folder, { recursive: true, force: true });
  passed += counted.passed;
  // A run can fail without a failed test: a file that does not load, an error outside of any test.
  failed += outcome.ok ? 0 : Math.max(1, counted.failed);
  report("tests", outcome, `${counted.passed} passed, ${counted.failed} failed`);
}

async function count(file: string): Promise<{ readonly passed: number; readonly failed: number }> {
  const { numPassedTests, numFailedTests } = JSON.parse(await readFile(file, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  return { passed: numPassedTests, failed: numFailedTests };
}

function report(name: string, { ok, output, seconds }: Outcome, detail = ""): void {
  const line = `${ok ? "ok  " : "FAIL"}  ${name.padEnd(10)} ${seconds.toFixed(1).padStart(6)} s  ${detail}`;
  process.stdout.write(`${line.trimEnd()}\n${ok ? "" : output}`);
}
