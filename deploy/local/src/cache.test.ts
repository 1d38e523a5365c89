import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CacheEntry, type CacheProgress, ensureEntry, progressLine } from "./cache.ts";

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "millrace-cache-"));
});
afterEach(() => rm(cache, { recursive: true }));

/** An entry that counts its builds and takes as long as it is told. */
function counted(
  inputs: readonly string[],
  work: () => Promise<void> = async () => {},
): {
  readonly entry: CacheEntry;
  readonly builds: () => number;
} {
  let builds = 0;
  return {
    builds: () => builds,
    entry: {
      name: "thing",
      how: "by hand",
      inputs: async () => inputs,
      build: async (folder) => {
        builds += 1;
        await work();
        await writeFile(join(folder, "content"), "built");
      },
    },
  };
}

const folders = async (): Promise<string[]> =>
  (await readdir(cache)).filter((name) => !name.endsWith(".lock")).toSorted();

describe("ensureEntry", () => {
  it("builds once and finds it again", async () => {
    const { entry, builds } = counted(["a"]);
    const first = await ensureEntry(entry, { cache });
    const second = await ensureEntry(entry, { cache });
    expect(second).toBe(first);
    expect(await readFile(join(first, "content"), "utf8")).toBe("built");
    expect(builds()).toBe(1);
  });

  it("builds anew when an input changes, and keeps the old one", async () => {
    const one = await ensureEntry(counted(["a", "b"]).entry, { cache });
    const other = await ensureEntry(counted(["ab", ""]).entry, { cache });
    expect(other).not.toBe(one);
    expect(await folders()).toHaveLength(2);
  });

  it("lets a second builder wait for the first", async () => {
    let finish = (): void => {};
    const started = Promise.withResolvers<void>();
    const { entry, builds } = counted(["a"], () => {
      started.resolve();
      return new Promise((resolve) => {
        finish = resolve;
      });
    });
    const steps: CacheProgress["step"][] = [];
    const first = ensureEntry(entry, { cache });
    await started.promise;
    const waits = Promise.withResolvers<void>();
    const second = ensureEntry(entry, {
      cache,
      onProgress: ({ step }) => {
        steps.push(step);
        waits.resolve();
      },
    });
    await waits.promise;
    finish();
    expect(await second).toBe(await first);
    expect(builds()).toBe(1);
    expect(steps).toEqual(["waiting"]);
  });

  it("takes the half-built folder of a killed builder for nothing, and removes it", async () => {
    const { entry, builds } = counted(["a"]);
    const folder = await ensureEntry(entry, { cache });
    await rm(folder, { recursive: true });
    await mkdir(join(cache, `.${folder.slice(cache.length + 1)}-killed`, "half"), { recursive: true });
    expect(await ensureEntry(entry, { cache })).toBe(folder);
    expect(builds()).toBe(2);
    expect(await folders()).toEqual([folder.slice(cache.length + 1)]);
  });

  it("leaves nothing of a failed build, and the next try builds", async () => {
    const failing = counted(["a"], async () => {
      throw new Error("no compiler");
    });
    await expect(ensureEntry(failing.entry, { cache })).rejects.toThrow("no compiler");
    expect(await folders()).toEqual([]);
    const { entry, builds } = counted(["a"]);
    await ensureEntry(entry, { cache });
    expect(builds()).toBe(1);
  });
});

describe("progressLine", () => {
  it("names entry, step, way and time", () => {
    expect(progressLine({ entry: "minio", how: "go build", step: "building", elapsedMs: 15_400 })).toBe(
      "minio: building (go build), 15 s",
    );
  });
});
