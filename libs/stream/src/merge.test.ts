import { memoryRecord } from "@millrace/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Batch, StreamRecord } from "./broker.ts";
import { Merge } from "./merge.ts";

const record = (topic: string, offset: number, timestampMs: number): StreamRecord =>
  memoryRecord({ topic, offset, timestampMs, value: null });
/** Records of a topic, of which there are `more`. */
const batch = (topic: string, records: readonly StreamRecord[], more = 0): Batch => {
  const nextOffset = (records.at(-1)?.offset ?? -1) + 1;
  return { topic, partition: 0, records, nextOffset, endOffset: nextOffset + more };
};

describe("merge", () => {
  it("gives two topics in the order of their timestamps", () => {
    const merge = new Merge(
      new Map([
        ["a", 0],
        ["b", 0],
      ]),
    );
    merge.add(batch("a", [record("a", 0, 10), record("a", 1, 30)]));
    merge.add(batch("b", [record("b", 0, 20), record("b", 1, 40)]));
    expect(merge.take(10, 0).map((one) => one.timestampMs)).toEqual([10, 20, 30, 40]);
  });

  it("waits for a topic that is known to have more, but not for ever", () => {
    const merge = new Merge(
      new Map([
        ["a", 0],
        ["b", 0],
      ]),
      50,
    );
    merge.add(batch("a", [record("a", 0, 10), record("a", 1, 30)]));
    merge.add(batch("b", [record("b", 0, 20)], 8));
    expect(merge.take(10, 0).map((one) => one.timestampMs)).toEqual([10, 20]);
    expect(merge.take(10, 100)).toEqual([]);
    expect(merge.graceLeftMs(110)).toBe(40);
    expect(merge.take(10, 151).map((one) => one.timestampMs)).toEqual([30]);
  });

  it("drops what lies before the position", () => {
    const merge = new Merge(new Map([["a", 5]]));
    merge.add(
      batch(
        "a",
        [4, 5, 6].map((offset) => record("a", offset, offset)),
      ),
    );
    expect(merge.take(10, 0).map((one) => one.offset)).toEqual([5, 6]);
  });

  it("stands behind what is no record once the records before it are taken", () => {
    const merge = new Merge(new Map([["a", 0]]));
    const nothing = (nextOffset: number): Batch => ({ ...batch("a", []), nextOffset, endOffset: nextOffset });
    merge.add(nothing(3));
    expect(merge.position("a")).toBe(3);
    merge.add(batch("a", [record("a", 3, 0), record("a", 5, 0)]));
    merge.add(nothing(9));
    expect(merge.take(1, 0)).toHaveLength(1);
    expect(merge.position("a")).toBe(4);
    expect(merge.take(9, 0)).toHaveLength(1);
    expect(merge.position("a")).toBe(9);
  });

  it("loses nothing, repeats nothing and keeps each topic's order, however batches are cut", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 8 });
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 1, max: 7 }), (a, b, max) => {
        const merge = new Merge(
          new Map([
            ["a", 0],
            ["b", 0],
          ]),
          0,
        );
        const taken: StreamRecord[] = [];
        const next = { a: 0, b: 0 };
        for (let i = 0; i < Math.max(a.length, b.length); i++) {
          for (const [topic, batches] of [
            ["a", a],
            ["b", b],
          ] as const) {
            const size = batches[i];
            if (size === undefined) continue;
            const records = Array.from({ length: size }, () => record(topic, next[topic], next[topic]++));
            merge.add(batch(topic, records));
          }
          taken.push(...merge.take(max, i));
        }
        while (taken.length < next.a + next.b) taken.push(...merge.take(max, 1_000));
        for (const topic of ["a", "b"] as const) {
          const offsets = taken.filter((one) => one.topic === topic).map((one) => one.offset);
          expect(offsets).toEqual(Array.from({ length: next[topic] }, (_, i) => i));
        }
      }),
    );
  });
});
