import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson } from "@millrace/contracts";
import type { Job, Report } from "./contract.ts";

const FILE = "checkpoint.json";

/** What an earlier start of the same job left: the same data, time, features, configuration and seed; else null. */
export async function readCheckpoint(job: Job): Promise<unknown> {
  try {
    const { of, state }: { of: unknown; state: unknown } = JSON.parse(
      await readFile(join(job.checkpoint, FILE), "utf8"),
    );
    return of === digestOf(job) ? state : null;
  } catch {
    // None, or one that was cut short: training starts from the beginning, which is always right.
    return null;
  }
}

/** Keeps the state, a JSON value, in place of what was there before. */
export async function writeCheckpoint(
  job: Job,
  state: unknown,
  report: (line: Report) => void,
): Promise<void> {
  await mkdir(job.checkpoint, { recursive: true });
  const file = join(job.checkpoint, FILE);
  await writeFile(`${file}.tmp`, JSON.stringify({ of: digestOf(job), state }));
  await rename(`${file}.tmp`, file);
  report({ type: "checkpoint", file });
}

function digestOf({ features, featureDigest, data, trainFromMs, trainUntilMs, config, seed }: Job): string {
  const parts = canonicalJson({ features, featureDigest, data, trainFromMs, trainUntilMs, config, seed });
  return createHash("sha256").update(parts).digest("hex");
}
