import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Log, writeFileDurably } from "@millrace/runtime";
import { z } from "zod";
import type { AspiredRecord } from "./swap.ts";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const records = z.record(
  z.string(),
  z.object({
    line: z.string(),
    generation: z.int().min(1),
    changedAtMs: z.number(),
    traceparent: z.string(),
    // Files of earlier times lack what has a default.
    serve: z
      .object({
        latencyMs: z.number(),
        priority: z.enum(["high", "normal", "low"]),
        threads: z.int(),
        optimisation: z.enum(["all", "extended", "basic", "none"]),
        providers: z.array(z.enum(["cpu", "cuda", "webgpu", "coreml", "dml"])),
      })
      .nullable()
      .default(null),
    rollout: z
      .object({
        version: z.int(),
        strategy: z.enum(["canary", "ab", "interleave"]),
        by: z.enum(["request", "entity"]),
        salt: z.string(),
        share: z.number(),
        startedAtMs: z.number(),
      })
      .nullable()
      .default(null),
    models: z.array(
      z.object({
        version: z.int().min(1),
        role: z.enum(["champion", "challenger", "shadow"]),
        artifactDigest: digest,
        artifactBytes: z.int().min(0),
        featureDigest: z.string(),
        featureNames: z.array(z.string()),
        datasetDigest: z.string().default(""),
        signature: z.string().default(""),
        share: z.number().default(0),
        recipe: z.string().default(""),
      }),
    ),
  }),
);

/** The sets that served last, by line: what the node starts from when nobody else can be reached. */
export interface LastGood {
  /** Empty when there is no file, or a damaged one: then the node waits for the registry, as a new one does. */
  read(): Promise<readonly AspiredRecord[]>;
  /** Keeps a set that serves. Resolves when it is on disk. */
  keep(set: AspiredRecord): Promise<void>;
}

/** In the file `last-good.json` of `folder`. */
export function lastGoodFile(folder: string, log: Log): LastGood {
  const file = join(folder, "last-good.json");
  const kept = new Map<string, AspiredRecord>();
  let writing: Promise<void> = Promise.resolve();
  return {
    read: async () => {
      const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return "{}";
        throw error;
      });
      try {
        for (const set of Object.values(records.parse(JSON.parse(text)))) kept.set(set.line, set);
      } catch (error) {
        log.error({ err: error, file }, "the last good sets cannot be read: waiting for the registry");
      }
      return [...kept.values()];
    },
    keep: (set) => {
      kept.set(set.line, set);
      const write = (): Promise<void> => writeFileDurably(file, JSON.stringify(Object.fromEntries(kept)));
      writing = writing.then(write, write);
      return writing;
    },
  };
}
