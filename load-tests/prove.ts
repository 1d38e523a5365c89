/**
 * `npm run prove -- CLAIM [--json]`: measures one claim and says whether it holds; without a claim, lists them.
 * The baseline is printed first, lines for people go to standard error (with `--json` nowhere), and the last line of
 * standard output is one JSON object. Exit codes: 0 it holds, 1 it does not, 2 wrong usage.
 */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Claim, judge, type Measurement } from "./claim.ts";

const CLAIMS = join(import.meta.dirname, "claims");
const STOP_MS = 20_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } },
});
const names = readdirSync(CLAIMS).flatMap((file) => /^([a-z][a-z0-9-]*)\.ts$/.exec(file)?.[1] ?? []);
const [name, ...rest] = positionals;
if (name === undefined) {
  for (const one of names) process.stdout.write(`${one.padEnd(12)} ${(await load(one)).statement}\n`);
  process.exit(0);
}
if (!names.includes(name) || rest.length > 0) {
  process.stderr.write(
    `usage: npm run prove -- CLAIM [--json], where CLAIM is one of: ${names.join(", ")}\n`,
  );
  process.exit(2);
}

const claim = await load(name);
const say = (line: string): void => {
  if (!values.json) process.stderr.write(`${line}\n`);
};
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort(new Error("interrupted")));
const limit = setTimeout(
  () => stop.abort(new Error(`not finished after ${claim.limitSeconds} s`)),
  claim.limitSeconds * 1_000,
);
say(`${claim.name}: ${claim.statement}`);

const frame = {
  machine: `${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}, Node ${process.versions.node}`,
  commit: commit(),
  date: new Date().toISOString(),
};
const running = claim.run({ say, stop: stop.signal });
try {
  const measurement = await Promise.race([running, stopped(stop.signal)]);
  const { ratio, target, pass } = judge(claim.target, measurement);
  describe(measurement, target);
  const { value, baseline, parts, faults } = measurement;
  const all = faults.length === 0 ? parts : { ...parts, faults };
  print({ claim: name, value, unit: claim.unit, baseline, ratio, target, pass, parts: all, ...frame });
  process.exitCode = pass ? 0 : 1;
} catch (error) {
  say(`failed: ${error instanceof Error ? error.message : String(error)}`);
  const nothing = { value: null, unit: claim.unit, baseline: null, ratio: null, target: null, pass: false };
  print({ claim: name, ...nothing, parts: { faults: [String(error)] }, ...frame });
  // It may still have servers to stop; if that does not end, they go with this process.
  await Promise.race([running.catch(() => {}), delay(STOP_MS)]);
  process.exit(1);
} finally {
  clearTimeout(limit);
}

async function load(one: string): Promise<Claim> {
  const module = (await import(join(CLAIMS, `${one}.ts`))) as { default: Claim };
  return module.default;
}

function stopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

function describe({ value, baseline, faults }: Measurement, target: number): void {
  const figure = (number: number): string =>
    `${number.toLocaleString("en", { maximumSignificantDigits: 4 })} ${claim.unit}`;
  if (baseline !== null) say(`baseline  ${figure(baseline)}`);
  say(`ours      ${figure(value)}${baseline === null ? "" : ` (${(value / baseline).toFixed(2)} times)`}`);
  say(`target    ${"atMost" in claim.target ? "at most" : "at least"} ${figure(target)}`);
  for (const fault of faults) say(`fault     ${fault}`);
}

function print(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** The commit that was measured; marked where the tree differs from it. */
function commit(): string | null {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
    return `${git("rev-parse", "HEAD")}${git("status", "--porcelain") === "" ? "" : "+changes"}`;
  } catch {
    return null; // not a git checkout
  }
}
