import { mkdir, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { type ObjectStore, sha256Hex, writeFileDurably } from "@millrace/runtime";

/** Model bytes by digest. */
export interface Artifacts {
  /**
   * The bytes of a digest: from the folder when they are there and intact, else from the object store. What came
   * from the store is kept in the folder; nobody waits for the disk. Throws the object store's errors.
   */
  bytes(digest: string, limits: { readonly bytesMax: number }): Promise<Uint8Array>;
  /** Resolves when everything that was fetched so far is on disk. */
  settled(): Promise<void>;
  /** Removes files beyond the `keepLast` last used ones, but none of `keep`. */
  sweep(keep: ReadonlySet<string>): Promise<void>;
}

export interface ArtifactsOptions {
  readonly folder: string;
  readonly objects: ObjectStore;
  readonly keepLast: number;
  /** Called when bytes could not be kept: they are served all the same, but will be fetched again. */
  readonly onNotKept: (digest: string, error: unknown) => void;
}

interface Fetched {
  readonly bytes: Uint8Array;
  readonly written: Promise<void>;
}

const SUFFIX = ".onnx";

/** One process per folder. */
export function artifactFolder(options: ArtifactsOptions): Artifacts {
  const { folder, objects, keepLast, onNotKept } = options;
  /** From the beginning of a fetch until its file is written. */
  const going = new Map<string, Promise<Fetched>>();
  const fileOf = (digest: string): string => join(folder, `${digest}${SUFFIX}`);

  const local = async (digest: string): Promise<Uint8Array | null> => {
    const bytes = await readFile(fileOf(digest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (bytes === null || sha256Hex(bytes) !== digest) return null;
    const now = new Date();
    await utimes(fileOf(digest), now, now);
    return bytes;
  };

  const keep = async (digest: string, bytes: Uint8Array): Promise<void> => {
    await writeFileDurably(fileOf(digest), bytes).catch((error: unknown) => onNotKept(digest, error));
    going.delete(digest);
  };

  const fetch = async (digest: string, limits: { readonly bytesMax: number }): Promise<Fetched> => {
    const kept = await local(digest);
    if (kept !== null) {
      going.delete(digest);
      return { bytes: kept, written: Promise.resolve() };
    }
    const bytes = await objects.get(digest, limits);
    return { bytes, written: keep(digest, bytes) };
  };

  return {
    bytes: async (digest, limits) => {
      // Lines may share a model: one fetch, one writer of the file.
      let fetched = going.get(digest);
      if (fetched === undefined) {
        fetched = fetch(digest, limits);
        going.set(digest, fetched);
        fetched.catch(() => going.delete(digest));
      }
      return (await fetched).bytes;
    },

    settled: async () => {
      await Promise.allSettled([...going.values()].map(async (fetched) => (await fetched).written));
    },

    sweep: async (keep) => {
      await mkdir(folder, { recursive: true });
      const files = (await readdir(folder)).filter((name) => name.endsWith(SUFFIX));
      const aged = await Promise.all(
        files.map(async (name) => ({ name, usedMs: (await stat(join(folder, name))).mtimeMs })),
      );
      aged.sort((a, b) => b.usedMs - a.usedMs);
      for (const { name } of aged.slice(keepLast)) {
        if (!keep.has(name.slice(0, -SUFFIX.length))) await rm(join(folder, name), { force: true });
      }
    },
  };
}
