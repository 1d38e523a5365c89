import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Log, writeFileDurably } from "@millrace/runtime";
import { z } from "zod";
import type { AspiredRecord } from "./swap.ts";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const record = z.object({
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
});

/** The sets that served last, by line: what the node starts from when nobody else can be reached. */
export interface LastGood {
  /** Empty when there is no file, or a damaged one: then the node waits for the registry, as a new one does. */
  read(): Promise<readonly AspiredRecord[]>;
  /** Keeps a set that serves. Resolves when it is on disk. */
  keep(set: AspiredRecord): Promise<void>;
  /** Of all models in the sets that are kept. */
  digests(): readonly string[];
}

/** In the file `last-good.json` of `folder`. */
export function lastGoodFile(folder: string, log: Log): LastGood {
  const file = join(folder, "last-good.json");
  const kept = new Map<string, AspiredRecord>();
  let writing: Promise<void> = Promise.resolve();
  return {
    read: async () => {
      for (const one of await readSets(file, log)) kept.set(one.line, one);
      return [...kept.values()];
    },
    keep: (set) => {
      kept.set(set.line, set);
      const write = (): Promise<void> => writeFileDurably(file, JSON.stringify(Object.fromEntries(kept)));
      writing = writing.then(write, write);
      return writing;
    },
    digests: () => [...kept.values()].flatMap(({ models }) => models.map((model) => model.artifactDigest)),
  };
}

/** What can be read of the file: a set that is damaged does not take the others with it. */
async function readSets(file: string, log: Log): Promise<AspiredRecord[]> {
  let sets: unknown;
  try {
    sets = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    log.error({ err: error, file }, "the last good sets cannot be read: waiting for the registry");
    return [];
  }
  return Object.entries((sets ?? {}) as object).flatMap(([line, set]) => {
    const parsed = record.safeParse(set);
    if (parsed.success) return [parsed.data];
    log.error({ line, file, err: parsed.error }, "a last good set cannot be read: waiting for the registry");
    return [];
  });
}
