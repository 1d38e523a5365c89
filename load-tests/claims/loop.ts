import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Claim, Context, Measurement } from "../claim.ts";

const COMMAND = new URL("../../services/cli/bin/millrace.mjs", import.meta.url).pathname;
const START_SECONDS_MAX = 30;

interface Quality {
  readonly rows: number;
  readonly serving: Readonly<Record<string, number>>;
  readonly first: Readonly<Record<string, number>>;
  readonly baseRate: Readonly<Record<string, number>>;
}

/** What `millrace start --once --json` prints last, as far as it is used here. */
interface Summary {
  readonly complete: boolean;
  readonly stages: Readonly<Record<string, number>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly equations: readonly { readonly text: string; readonly holds: boolean }[];
  readonly quality: { readonly before: Quality; readonly after: Quality };
}

/** One complete loop on real servers and a fresh home: what a new user sees with `npm start -- --once`. */
async function run({ say, stop }: Context): Promise<Measurement> {
  const home = await mkdtemp(join(tmpdir(), "millrace-loop-"));
  try {
    const child = spawn(process.execPath, [COMMAND, "start", "--once", "--json", "--home", home], {
      stdio: ["ignore", "pipe", "inherit"],
      signal: stop,
      killSignal: "SIGTERM",
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString("utf8");
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    const last = output.trim().split("\n").at(-1) ?? "";
    if (code !== 0) throw new Error(`the loop did not complete: exit code ${code}: ${last.slice(0, 500)}`);
    const { stages, counts, equations, quality } = JSON.parse(last) as Summary;
    const seconds = (stage: string): number => (stages[stage] ?? Number.NaN) / 1_000;
    const wrong = equations.filter(({ holds }) => !holds).map(({ text }) => `does not hold: ${text}`);
    const firstPrediction = seconds("firstPredictionMs");
    say(`first prediction ${firstPrediction.toFixed(1)} s after start (at most ${START_SECONDS_MAX})`);
    say(`after the swap: ${JSON.stringify(quality.after)}`);
    return {
      value: seconds("shockToBetterMs"),
      baseline: null,
      faults: [
        ...wrong,
        ...(firstPrediction <= START_SECONDS_MAX ? [] : [`the first prediction took ${firstPrediction} s`]),
      ],
      parts: { stages, counts, quality },
    };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

const claim: Claim = {
  name: "loop",
  statement:
    "From the moment the world changes to the better model serving takes at most 60 s on two cores, with nobody in " +
    "between, and every event sent is accounted for.",
  unit: "s",
  target: { atMost: 60 },
  limitSeconds: 660,
  run,
};
export default claim;
