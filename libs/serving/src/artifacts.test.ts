import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ObjectStoreUnavailableError } from "@millrace/runtime";
import { type MemoryObjects, memoryObjects } from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Artifacts, artifactFolder } from "./index.ts";

const LIMITS = { bytesMax: 1_000 };
let folder: string;
let objects: MemoryObjects;
let artifacts: Artifacts;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-artifacts-"));
  objects = memoryObjects();
  artifacts = artifactFolder({ folder, objects, keepLast: 2, onNotKept: () => expect.unreachable() });
});
afterEach(() => rm(folder, { recursive: true }));

describe("artifacts", () => {
  it("answers from the folder when the store is away", async () => {
    const digest = await objects.put(Buffer.from("model"));
    await artifacts.bytes(digest, LIMITS);
    await artifacts.settled();
    objects.available = false;
    expect(Buffer.from(await artifacts.bytes(digest, LIMITS)).toString()).toBe("model");
    expect(objects.reads).toBe(1);
  });

  it("does not answer a damaged file: it fetches the bytes again and repairs the file", async () => {
    const digest = await objects.put(Buffer.from("model"));
    await artifacts.bytes(digest, LIMITS);
    await artifacts.settled();
    const file = join(folder, `${digest}.onnx`);
    for (const damage of ["m0del", "", "model and more"]) {
      await writeFile(file, damage);
      expect(Buffer.from(await artifacts.bytes(digest, LIMITS)).toString()).toBe("model");
      await artifacts.settled();
      expect(await readFile(file, "utf8")).toBe("model");
    }
    await writeFile(file, "m0del");
    objects.available = false;
    await expect(artifacts.bytes(digest, LIMITS)).rejects.toThrow(ObjectStoreUnavailableError);
  });

  it("fetches once for callers at the same time", async () => {
    const digest = await objects.put(Buffer.from("model"));
    await Promise.all([1, 2, 3].map(() => artifacts.bytes(digest, LIMITS)));
    await artifacts.settled();
    expect(objects.reads).toBe(1);
    expect(await readdir(folder)).toEqual([`${digest}.onnx`]);
  });

  it("sweeps the files that were not used for longest, and none that is needed", async () => {
    const digests = await Promise.all(
      ["a", "b", "c", "d", "e"].map((text) => objects.put(Buffer.from(text))),
    );
    for (const [i, digest] of digests.entries()) {
      await artifacts.bytes(digest, LIMITS);
      await artifacts.settled();
      await utimes(join(folder, `${digest}.onnx`), 1_000 + i, 1_000 + i);
    }
    const [a, , c] = digests as [string, string, string, string, string];
    await artifacts.bytes(c, LIMITS);
    await artifacts.sweep(new Set([a]));
    expect((await readdir(folder)).sort()).toEqual([a, c, digests[4]].map((d) => `${d}.onnx`).sort());
  });
});
