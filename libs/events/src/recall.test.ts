import fc from "fast-check";
import { expect, it } from "vitest";
import { DedupWindow, recallStream, Watermark } from "./index.ts";

interface Block {
  readonly rows: number;
  readonly maxTimeMs: number;
  readonly ids: readonly string[];
  readonly times: readonly number[];
}

it("recalls from the archive what an acceptor of every record remembers, reading few blocks", async () => {
  const row = fc.record({ time: fc.integer({ min: 0, max: 60 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(row, { minLength: 1, maxLength: 6 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 20 }),
      async (parts, idsMax) => {
        const dedup = new DedupWindow(idsMax);
        const watermark = new Watermark(0);
        let number = 0;
        const blocks = parts.map((rows): Block => {
          const ids = rows.map(() => `o-${number++}`);
          const times = rows.map(({ time }) => time);
          ids.forEach((id, i) => {
            dedup.admit(id);
            watermark.observe(times[i] as number);
          });
          return { rows: rows.length, maxTimeMs: Math.max(...times), ids, times };
        });
        const read = new Set<Block>();
        const memory = await recallStream(
          blocks,
          async (block) => {
            expect(read.has(block)).toBe(false);
            read.add(block);
            return block;
          },
          idsMax,
        );
        expect(memory.dedup).toEqual(dedup.snapshot());
        expect(memory.newest).toEqual(watermark.snapshot());
      },
    ),
  );
});

it("reads only the newest blocks of a stream whose time goes forward", async () => {
  const blocks = Array.from({ length: 100 }, (_, i): Block => {
    const ids = Array.from({ length: 50 }, (__, j) => `o-${50 * i + j}`);
    return { rows: 50, maxTimeMs: i, ids, times: ids.map(() => i) };
  });
  const read: Block[] = [];
  await recallStream(
    blocks,
    async (block) => {
      read.push(block);
      return block;
    },
    120,
  );
  expect(read).toEqual(blocks.slice(-3));
});
