import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog, sleep } from "@millrace/runtime";
import { createMemoryBroker, type MemoryBroker, type MemoryObjects, memoryObjects } from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Block,
  type BlockIndex,
  BlockIndexUnavailableError,
  type RunningArchive,
  startArchive,
} from "./index.ts";

const TOPIC = "letters.events";

/** An index as the registry keeps it: blocks follow one another without a gap. */
class MemoryIndex implements BlockIndex {
  readonly blocks: Block[] = [];
  away = false;
  async nextOffset(topic: string, partition: number): Promise<number | null> {
    const newest = this.blocks.findLast((block) => block.topic === topic && block.partition === partition);
    return newest?.nextOffset ?? null;
  }
  async add(block: Block): Promise<void> {
    if (this.away) throw new BlockIndexUnavailableError("the index is away");
    const next = this.blocks.at(-1)?.nextOffset ?? block.firstOffset;
    if (block.firstOffset !== next) throw new Error(`expected ${next}, not ${block.firstOffset}`);
    this.blocks.push(block);
  }
}

let broker: MemoryBroker;
let objects: MemoryObjects;
let index: MemoryIndex;
let scratch: string;
let failures: unknown[];
let running: RunningArchive[];
/** Records that the newest archive has taken. */
let taken: number;

beforeEach(async () => {
  broker = createMemoryBroker();
  await broker.ensureTopics([{ name: TOPIC, key: "", owner: "", readers: [], config: {} }], 1);
  objects = memoryObjects();
  index = new MemoryIndex();
  scratch = await mkdtemp(join(tmpdir(), "millrace-archive-"));
  failures = [];
  running = [];
});
afterEach(async () => {
  for (const archive of running) await archive.stop();
  await rm(scratch, { recursive: true });
});

async function start(rowsMax: number, everyMs: number): Promise<RunningArchive> {
  taken = 0;
  const archive = await startArchive<string>(
    {
      name: "letters.archive",
      line: "letters",
      topic: TOPIC,
      rowsMax,
      everyMs,
      read: (record) => {
        taken++;
        const row = Buffer.from(record.value ?? []).toString();
        return row === "?" ? null : { row, timeMs: record.offset * 10, knownAtMs: record.offset * 10 + 1 };
      },
      columns: (rows) => ({ letter: { kind: "text", values: rows } }),
    },
    {
      broker,
      objects,
      index,
      scratch,
      writeParquet: (file, columns) => writeFile(file, JSON.stringify(columns.letter?.values)),
      clock: { now: () => Date.now() },
      log: createLog("test", "silent"),
      fail: (error) => failures.push(error),
    },
  );
  running.push(archive);
  return archive;
}

function write(letters: string): void {
  broker.write(letters.split("").map((letter) => ({ topic: TOPIC, partition: 0, key: null, value: letter })));
}

async function archived(): Promise<string> {
  const blocks = await Promise.all(
    index.blocks.map(async ({ digest }) =>
      JSON.parse(Buffer.from(await objects.get(digest, { bytesMax: 1e6 })).toString()),
    ),
  );
  return blocks.flat().join("");
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 600 && !what(); i++) await sleep(5);
  expect(what()).toBe(true);
}

describe("archive", () => {
  it("writes a block when it has enough rows, and the rest at the stop", async () => {
    const archive = await start(3, 60_000);
    write("abcd");
    await until(() => index.blocks.length === 1);
    write("e");
    await until(() => taken === 5);
    await archive.stop();
    expect(await archived()).toBe("abcde");
    expect(index.blocks.at(-1)).toMatchObject({
      line: "letters",
      nextOffset: 5,
      maxTimeMs: 40,
      maxKnownAtMs: 41,
    });
    expect(index.blocks.map((block) => block.rows).reduce((a, b) => a + b)).toBe(5);
    expect(archive.written()).toEqual({ blocks: index.blocks.length, rows: 5 });
    expect(await readdir(scratch)).toEqual([]);
  });

  it("writes a block after some time, also when nothing comes any more", async () => {
    await start(1_000, 50);
    write("abc");
    await until(() => index.blocks.length > 0 && index.blocks.at(-1)?.nextOffset === 3);
    expect(await archived()).toBe("abc");
  });

  it("goes on where the index ends", async () => {
    const first = await start(100, 60_000);
    write("abc");
    await until(() => taken === 3);
    await first.stop();
    write("d");
    const second = await start(100, 60_000);
    await until(() => taken === 1);
    await second.stop();
    expect(await archived()).toBe("abcd");
    expect(index.blocks.map((block) => [block.firstOffset, block.nextOffset])).toEqual([
      [0, 3],
      [3, 4],
    ]);
  });

  it("archives every record once although it dies at any moment without writing its block", async () => {
    const letters = "abcdefghijklmnopqrstuvwxyz";
    for (let i = 0; i < letters.length; i += 2) {
      objects.available = i % 8 === 0;
      write(letters.slice(i, i + 2));
      const archive = await start(3, 60_000);
      await until(() => taken > 0);
      await archive.stop();
    }
    objects.available = true;
    await start(3, 0);
    await until(() => index.blocks.at(-1)?.nextOffset === letters.length);
    expect(await archived()).toBe(letters);
    expect(failures).toEqual([]);
  });

  it("waits while the store or the index is away", async () => {
    objects.available = false;
    const archive = await start(2, 60_000);
    write("abcdef");
    await sleep(30);
    objects.available = true;
    index.away = true;
    await sleep(700);
    expect(index.blocks).toEqual([]);
    index.away = false;
    await until(() => index.blocks.length > 0);
    await archive.stop();
    expect(await archived()).toBe("abcdef");
    expect(failures).toEqual([]);
  });

  it("fails when somebody else has added a block meanwhile", async () => {
    const archive = await start(100, 60_000);
    write("abc");
    await until(() => taken === 3);
    index.blocks.push({ ...({} as Block), topic: TOPIC, partition: 0, nextOffset: 2 });
    await archive.stop();
    expect(failures).toHaveLength(1);
  });

  it("leaves out what is none of ours", async () => {
    const archive = await start(100, 60_000);
    write("a?b");
    await until(() => taken === 3);
    await archive.stop();
    expect(await archived()).toBe("ab");
    expect(index.blocks.at(-1)?.nextOffset).toBe(3);
  });
});
