import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { StreamRecord } from "./broker.ts";
import { Merge } from "./merge.ts";

const record = (topic: string, offset: number, timestampMs: number): StreamRecord => ({
  topic,
  partition: 0,
  offset,
  timestampMs,
  key: null,
  value: null,
  headers: {},
});

describe("merge", () => {
  it("gives two topics in the order of their timestamps", () => {
    const merge = new Merge(
      new Map([
        ["a", 0],
        ["b", 0],
      ]),
    );
    merge.add({ topic: "a", partition: 0, records: [record("a", 0, 10), record("a", 1, 30)], endOffset: 2 });
    merge.add({ topic: "b", partition: 0, records: [record("b", 0, 20), record("b", 1, 40)], endOffset: 2 });
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
    merge.add({ topic: "a", partition: 0, records: [record("a", 0, 10), record("a", 1, 30)], endOffset: 2 });
    merge.add({ topic: "b", partition: 0, records: [record("b", 0, 20)], endOffset: 9 });
    expect(merge.take(10, 0).map((one) => one.timestampMs)).toEqual([10, 20]);
    expect(merge.take(10, 100)).toEqual([]);
    expect(merge.take(10, 151).map((one) => one.timestampMs)).toEqual([30]);
  });

  it("drops what lies before the position", () => {
    const merge = new Merge(new Map([["a", 5]]));
    merge.add({
      topic: "a",
      partition: 0,
      records: [4, 5, 6].map((offset) => record("a", offset, offset)),
      endOffset: 7,
    });
    expect(merge.take(10, 0).map((one) => one.offset)).toEqual([5, 6]);
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
            merge.add({ topic, partition: 0, records, endOffset: next[topic] });
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
