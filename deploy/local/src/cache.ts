import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { sha256Hex } from "@millrace/runtime";
import { lock } from "./lock.ts";

/** Something built once per user and machine, and kept in the cache folder. */
export interface CacheEntry {
  /** Kebab-case; the folder is `<name>-<first 12 digits of the digest>`. */
  readonly name: string;
  /** What is done to build it, for people: `go build`. */
  readonly how: string;
  /** Everything that the result depends on: contents of pinned files, commands, platform. */
  readonly inputs: () => Promise<readonly string[]>;
  /** Fills the empty folder. The folder's path changes afterwards. */
  readonly build: (folder: string) => Promise<void>;
}

/** One step of an entry on its way; `elapsedMs` counts from the call. */
export interface CacheProgress {
  readonly entry: string;
  readonly how: string;
  readonly step: "waiting" | "building" | "built";
  readonly elapsedMs: number;
}

export interface CacheOptions {
  /** The cache folder; see `cacheFolder`. */
  readonly cache: string;
  /** Told when a build starts, every five seconds while it lasts, and when it ends; never for what is there. */
  readonly onProgress?: (progress: CacheProgress) => void;
}

const PROGRESS_MS = 5_000;

/**
 * The folder of the entry, built first where it is missing. A folder under its final name is complete: it is
 * built beside it and renamed at the end, so a builder that is killed leaves nothing that looks finished. A second
 * builder of the same entry, in whatever process, waits for the first. Throws what the build throws.
 */
export async function ensureEntry(entry: CacheEntry, options: CacheOptions): Promise<string> {
  const name = `${entry.name}-${sha256Hex((await entry.inputs()).join("\0")).slice(0, 12)}`;
  const folder = join(options.cache, name);
  if (await exists(folder)) return folder;

  const startMs = performance.now();
  const report = (step: CacheProgress["step"]): void =>
    options.onProgress?.({
      entry: entry.name,
      how: entry.how,
      step,
      elapsedMs: performance.now() - startMs,
    });
  await mkdir(options.cache, { recursive: true, mode: 0o700 });
  const held = await lock(join(options.cache, `${name}.lock`), () => report("waiting"));
  try {
    if (await exists(folder)) return folder;
    await removeLeftovers(options.cache, `.${name}-`);
    report("building");
    const ticking = setInterval(() => report("building"), PROGRESS_MS);
    const unfinished = await mkdtemp(join(options.cache, `.${name}-`));
    try {
      await entry.build(unfinished);
      await rename(unfinished, folder);
    } finally {
      clearInterval(ticking);
      await rm(unfinished, { recursive: true, force: true });
    }
    report("built");
    return folder;
  } finally {
    held.release();
  }
}

/** One line for people: `minio: building (go build), 15 s`. */
export function progressLine(progress: CacheProgress): string {
  const { entry, step, how, elapsedMs } = progress;
  const doing = step === "waiting" ? "waiting for another process that builds it" : step;
  return `${entry}: ${doing} (${how}), ${Math.round(elapsedMs / 1000)} s`;
}

/** What killed builders left behind; nobody else builds this entry while its lock is held. */
async function removeLeftovers(cache: string, prefix: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (name.startsWith(prefix)) await rm(join(cache, name), { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}
