import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "@millrace/runtime";
import { type MemoryObjects, memoryObjects } from "@millrace/testkit";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Checkpoint,
  type CheckpointIndex,
  CheckpointIndexUnavailableError,
  type CheckpointPointer,
  type CheckpointStore,
  DamagedCheckpointError,
  FencedError,
  fileCheckpoints,
  type IndexedManifests,
  layeredCheckpoints,
  objectCheckpoints,
} from "./index.ts";

const forever = new AbortController().signal;
const MEGABYTE = 1024 * 1024;

const checkpoint = (offset: number, state: unknown, version = ""): Checkpoint => ({
  version,
  offsets: { in: offset },
  ends: { out: 2 * offset },
  held: [],
  state,
});

/** The index as the registry keeps it: one owner of a partition at a time, the last three. */
class MemoryIndex implements CheckpointIndex {
  readonly #partitions = new Map<number, { epoch: number; newest: CheckpointPointer[] }>();
  away = false;
  of(partition: number): { epoch: number; newest: CheckpointPointer[] } {
    if (this.away) throw new CheckpointIndexUnavailableError("the index is away");
    const found = this.#partitions.get(partition) ?? { epoch: 0, newest: [] };
    this.#partitions.set(partition, found);
    return found;
  }
  async acquire(partition: number): Promise<{ epoch: number; newest: readonly CheckpointPointer[] }> {
    const found = this.of(partition);
    return { epoch: ++found.epoch, newest: [...found.newest] };
  }
  async put(partition: number, epoch: number, pointer: CheckpointPointer): Promise<IndexedManifests> {
    const { newest, epoch: current } = this.of(partition);
    if (epoch !== current) throw new FencedError("somebody else is the owner");
    newest.unshift(pointer);
    const dropped = newest.splice(3);
    const manifests = (pointers: readonly CheckpointPointer[]) => pointers.map(({ manifest }) => manifest);
    return { kept: manifests(newest), dropped: manifests(dropped) };
  }
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-checkpoints-"));
});
afterEach(() => rm(folder, { recursive: true }));

const stores: readonly [string, () => CheckpointStore][] = [
  ["in files", () => fileCheckpoints(folder)],
  ["in the object store", () => objectCheckpoints("s", memoryObjects(), new MemoryIndex())],
];

describe.each(stores)("checkpoints %s", (_name, create) => {
  it("come back as they were, arrays of every type and size included", async () => {
    const store = create();
    const state = {
      map: new Map([["a", { list: [1, null, "x"], small: new Float64Array([1.5, Number.NaN]) }]]),
      large: new Float64Array(100_000).map((_, i) => i / 3),
      odd: new Uint8Array(3 * MEGABYTE + 5).map((_, i) => i * 7),
      part: new Int32Array(200_000).map((_, i) => -i).subarray(10, 100_011),
      big: new BigInt64Array(20_000).fill(-5n),
      bytes: Buffer.from("text"),
      large32: new Float32Array(30_000).fill(0.5),
    };
    const held = [
      {
        topic: "out",
        output: { key: null, value: "v" },
        cause: { topic: "in", partition: 0, offset: 1, index: 0 },
      },
    ];
    const saved = { ...checkpoint(7, state), held };
    await store.save(0, saved, false);
    await store.save(1, checkpoint(1, null), true);
    expect(await store.load(0, null, forever)).toEqual(saved);
    expect(await store.load(1, "", forever)).toEqual(checkpoint(1, null));
    expect(await store.load(2, null, forever)).toBeNull();
  });

  it("hold the moment of the save, whatever becomes of the state meanwhile", async () => {
    const store = create();
    const state = { large: new Int32Array(500_000).fill(1), small: [1] };
    const saving = store.save(0, checkpoint(1, state), false);
    state.large.fill(2);
    state.small[0] = 2;
    await saving;
    const again = store.save(0, checkpoint(2, state), false);
    state.large.fill(3);
    await again;
    const found = (await store.load(0, null, forever))?.state as typeof state;
    expect([found.large[0], found.large.at(-1), found.small[0]]).toEqual([2, 2, 2]);
  });

  it("are given only to the version that they belong to", async () => {
    const store = create();
    await store.save(0, checkpoint(1, "a", "v1"), false);
    expect((await store.load(0, "v1", forever))?.state).toBe("a");
    expect((await store.load(0, null, forever))?.state).toBe("a");
    expect(await store.load(0, "v2", forever)).toBeNull();
  });
});

describe("checkpoints in files", () => {
  it("are refused when they are damaged anywhere, naming the file and the remedy", async () => {
    const store = fileCheckpoints(folder);
    await store.save(0, checkpoint(1, new Uint8Array(100_000)), false);
    const file = join(folder, "partition-0.checkpoint");
    const whole = await readFile(file);
    const damaged = async (bytes: Uint8Array): Promise<void> => {
      await writeFile(file, bytes);
      const loading = store.load(0, null, forever);
      await expect(loading).rejects.toBeInstanceOf(DamagedCheckpointError);
      await expect(loading).rejects.toThrow(/partition-0\.checkpoint is damaged: remove it/);
    };
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: whole.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, change) => {
          const bytes = Buffer.from(whole);
          bytes[at] = (bytes[at] as number) ^ change;
          await damaged(bytes);
        },
      ),
      { numRuns: 50, examples: Array.from({ length: 40 }, (_, at) => [at, 0xff] as [number, number]) },
    );
    for (const length of [0, 5, 20, 1_000, whole.length - 1]) await damaged(whole.subarray(0, length));
    await damaged(Buffer.concat([whole, Buffer.from("x")]));
  });

  it("leave the one before when a save is cut short", async () => {
    const store = fileCheckpoints(folder);
    await store.save(0, checkpoint(1, "before"), false);
    await writeFile(join(folder, "partition-0.checkpoint.tmp"), "half of the ne");
    expect((await store.load(0, null, forever))?.state).toBe("before");
  });
});

describe("checkpoints in the object store", () => {
  let objects: MemoryObjects;
  let index: MemoryIndex;
  let puts: number;
  const counted = (): MemoryObjects => ({
    ...objects,
    put: async (bytes) => {
      puts++;
      return objects.put(bytes);
    },
  });
  beforeEach(() => {
    objects = memoryObjects();
    index = new MemoryIndex();
    puts = 0;
  });

  it("store only the pieces that have changed", async () => {
    const store = objectCheckpoints("s", counted(), index);
    const state = {
      a: new Uint8Array(8 * MEGABYTE).map((_, i) => i / MEGABYTE),
      b: new Float64Array(MEGABYTE),
    };
    state.b.forEach((_, i) => {
      state.b[i] = i;
    });
    await store.save(0, checkpoint(1, state), false);
    expect(puts).toBe(1 + 8 + 8 + 1);
    puts = 0;
    state.b[0] = -1;
    await store.save(0, checkpoint(2, state), false);
    // The head, the piece, the manifest.
    expect(puts).toBe(3);
    puts = 0;
    const other = objectCheckpoints("s", counted(), index);
    expect((await other.load(0, null, forever))?.state).toEqual(state);
    await other.save(0, checkpoint(2, state), false);
    expect(puts).toBe(1);
  });

  it("leave nothing behind that no checkpoint names, and take nothing away that another partition's do", async () => {
    const store = objectCheckpoints("s", objects, index);
    const zeros = new Uint8Array(2 * MEGABYTE);
    await store.save(1, checkpoint(1, zeros), false);
    const one = objects.count;
    for (let i = 1; i <= 6; i++) {
      // Each has a piece that all have, and a piece that comes and goes.
      const state = zeros.slice();
      state[MEGABYTE] = i % 3;
      await store.save(0, checkpoint(i, state), false);
      if (i === 4) objects.available = false;
      if (i === 4) await expect(store.save(0, checkpoint(i, "lost"), false)).rejects.toThrow();
      objects.available = true;
    }
    // The last three: a piece of zeros, two others, and a head and a manifest each.
    expect(objects.count - one).toBe(1 + 2 + 3 + 3);
    expect((await store.load(1, null, forever))?.state).toEqual(zeros);
    expect((await store.load(0, null, forever))?.offsets).toEqual({ in: 6 });
  });

  it("refuse whoever was the owner before (S1)", async () => {
    const [old, next] = [objectCheckpoints("s", objects, index), objectCheckpoints("s", objects, index)];
    await old.load(0, null, forever);
    await old.save(0, checkpoint(1, "a"), false);
    await next.load(0, null, forever);
    await expect(old.save(0, checkpoint(2, "b"), false)).rejects.toBeInstanceOf(FencedError);
    await next.save(0, checkpoint(2, "c"), false);
    expect((await old.load(0, null, forever))?.state).toBe("c");
  });

  it("fall back to an older one when an object is missing or damaged", async () => {
    const store = objectCheckpoints("s", objects, index);
    await store.save(0, checkpoint(1, "a"), false);
    await store.save(0, checkpoint(2, "b"), false);
    await store.save(0, checkpoint(3, "c"), false);
    await objects.remove([index.of(0).newest[0]?.manifest as string]);
    objects.damage(index.of(0).newest[1]?.manifest as string, Buffer.from("?"));
    expect((await store.load(0, null, forever))?.state).toBe("a");
  });

  it("are waited for while store or index is away, until the signal aborts", async () => {
    const store = objectCheckpoints("s", objects, index);
    await store.save(0, checkpoint(1, "a"), false);
    index.away = true;
    const stopping = new AbortController();
    const stopped = store.load(0, null, stopping.signal);
    stopping.abort("stopped");
    await expect(stopped).rejects.toBe("stopped");
    const waiting = store.load(0, null, forever);
    index.away = false;
    objects.available = false;
    setTimeout(() => {
      objects.available = true;
    }, 700);
    expect((await waiting)?.state).toBe("a");
  });
});

describe("checkpoints in layers", () => {
  const log = createLog("test", "silent");
  let nowMs: number;
  let objects: MemoryObjects;
  let index: MemoryIndex;
  const open = (folderOf = folder): CheckpointStore =>
    layeredCheckpoints(fileCheckpoints(folderOf), objectCheckpoints("s", objects, index), {
      everyMs: 60_000,
      clock: { now: () => nowMs },
      log,
    });
  beforeEach(() => {
    nowMs = 0;
    objects = memoryObjects();
    index = new MemoryIndex();
  });
  const shared = (): (number | undefined)[] => index.of(0).newest.map(({ offsets }) => offsets["in"]);
  const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

  it("are shared every so often, and at the end", async () => {
    const store = open();
    await store.save(0, checkpoint(1, "a"), false);
    nowMs = 61_000;
    await store.save(0, checkpoint(2, "b"), false);
    await settled();
    await store.save(0, checkpoint(3, "c"), false);
    expect(shared()).toEqual([2]);
    await store.save(0, checkpoint(4, "d"), true);
    expect(shared()).toEqual([4, 2]);
  });

  it("go on from whichever has read further, here or on another machine", async () => {
    const away = join(folder, "other");
    const [one, two] = [open(), open(away)];
    await one.save(0, checkpoint(1, "one"), true);
    expect((await two.load(0, null, forever))?.state).toBe("one");
    await two.save(0, checkpoint(2, "two"), false);
    expect((await two.load(0, null, forever))?.state).toBe("two");
    expect((await one.load(0, null, forever))?.state).toBe("one");
    await two.load(0, null, forever);
    await two.save(0, checkpoint(2, "two"), true);
    expect((await one.load(0, null, forever))?.state).toBe("two");
    const reads = objects.reads;
    expect((await two.load(0, null, forever))?.state).toBe("two");
    expect(objects.reads, "nothing is fetched that is here").toBe(reads);
  });

  it("tell an owner that somebody else has taken over (S1)", async () => {
    const [one, two] = [open(), open(join(folder, "other"))];
    await one.load(0, null, forever);
    await two.load(0, null, forever);
    nowMs = 61_000;
    await one.save(0, checkpoint(1, "a"), false);
    await settled();
    await expect(one.save(0, checkpoint(2, "b"), false)).rejects.toBeInstanceOf(FencedError);
    await one.load(0, null, forever);
    await one.save(0, checkpoint(2, "b"), false);
  });

  it("do without the shared store while it is away", async () => {
    const store = open();
    await store.save(0, checkpoint(1, "a"), true);
    objects.available = false;
    index.away = true;
    nowMs = 61_000;
    await store.save(0, checkpoint(2, "b"), true);
    expect((await store.load(0, null, forever))?.state).toBe("b");
  });
});
