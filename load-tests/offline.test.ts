import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { featureNames } from "@millrace/lines";
import { openParquet } from "@millrace/parquet";
import { describe, expect, it } from "vitest";
import { compareFiles, compareWithStream, type Offline, runOffline } from "./offline.ts";
import type { W1Parameters } from "./w1.ts";
import { writeW1Archive } from "./w1-archive.ts";
import { w1Line } from "./w1-line.ts";

const PARAMETERS: W1Parameters = { events: 20_000, accounts: 40, seed: 3 };

const LIMIT_MS = 120_000;

describe("a training set of W1", () => {
  it(
    "has the same values by replay, by both formulations of SQL, and on the stream",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "millrace-offline-"));
      const parquet = await openParquet({ memoryMb: 256, threads: 1, scratch: join(folder, "scratch") });
      const stop = AbortSignal.timeout(LIMIT_MS);
      try {
        const archive = await writeW1Archive(folder, "payments", 2, PARAMETERS, 1_000, parquet, stop);
        const offline: Offline = { topic: "payments", partitions: 2, folder, archive, threads: 2 };
        const names = featureNames(w1Line("payments", "payments", "full", 2));
        const ours = await runOffline(offline, "replay", stop);
        for (const how of ["windows", "panes"] as const) {
          const theirs = await runOffline(offline, how, stop);
          const compared = await compareFiles(names, ours.out, theirs.out, parquet);
          expect(compared).toEqual({ values: 22_000, different: 0, first: null });
        }
        const streamed = await compareWithStream(offline, PARAMETERS, 5_000, 10, stop);
        expect(streamed).toEqual({ values: 11_000, different: 0, first: null });
      } finally {
        parquet.close();
        rmSync(folder, { recursive: true });
      }
    },
    LIMIT_MS,
  );
});
