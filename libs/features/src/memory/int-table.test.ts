import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IntTable } from "./int-table.ts";

/** A table and a map that are told the same. */
class Both {
  table: IntTable;
  readonly map = new Map<string, number>();
  readonly #keyInts: number;

  constructor(keyInts: number) {
    this.#keyInts = keyInts;
    this.table = new IntTable(keyInts, 1, null);
  }

  set(key: readonly number[], value: number): void {
    const ints = Int32Array.from(key);
    const found = this.table.find(ints);
    expect(found >= 0).toBe(this.map.has(key.join()));
    const at = found < 0 ? this.table.insert(ints) : found;
    if (found < 0) expect(this.table.entries[at + this.#keyInts]).toBe(0);
    this.table.entries[at + this.#keyInts] = value;
    this.map.set(key.join(), value);
  }

  remove(key: readonly number[]): void {
    const at = this.table.find(Int32Array.from(key));
    expect(at >= 0).toBe(this.map.delete(key.join()));
    if (at >= 0) this.table.remove(at);
  }

  restart(): void {
    this.table = new IntTable(this.#keyInts, 1, structuredClone(this.table.snapshot()));
  }

  compare(): void {
    const { table, map } = this;
    expect(table.size).toBe(map.size);
    const visited = new Map<string, number>();
    for (let place = 0; place < table.places; place++) {
      const at = table.visit(place);
      if (at < 0) continue;
      const key = table.entries.subarray(at, at + this.#keyInts).join();
      expect(visited.has(key)).toBe(false);
      visited.set(key, table.entries[at + this.#keyInts] as number);
    }
    expect(visited).toEqual(map);
    for (const [key, value] of map) {
      const at = table.find(Int32Array.from(key.split(","), Number));
      expect(table.entries[at + this.#keyInts]).toBe(value);
    }
  }
}

describe("IntTable", () => {
  it("holds what a map holds, over any insertions, removals and restarts", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ set: fc.integer({ min: 1, max: 60 }), second: fc.nat(3) }) },
      { weight: 4, arbitrary: fc.record({ remove: fc.integer({ min: 1, max: 60 }), second: fc.nat(3) }) },
      { weight: 1, arbitrary: fc.constant("restart" as const) },
    );
    fc.assert(
      fc.property(fc.constantFrom(1, 2), fc.array(step, { maxLength: 200 }), (keyInts, steps) => {
        const both = new Both(keyInts);
        steps.forEach((one, i) => {
          if (one === "restart") both.restart();
          else if ("set" in one) both.set([one.set, one.second].slice(0, keyInts), i);
          else both.remove([one.remove, one.second].slice(0, keyInts));
        });
        both.compare();
      }),
    );
  });

  it("splits segments as it grows, loses nothing, and can be emptied again", () => {
    const both = new Both(2);
    for (let i = 1; i <= 20_000; i++) both.set([i % 2 === 0 ? i : -i, i >> 4], i);
    expect(both.table.places).toBeGreaterThan(20_000);
    expect(both.table.places).toBeLessThan(80_000);
    both.compare();
    both.restart();
    for (let i = 1; i <= 20_000; i++) if (i % 8 !== 0) both.remove([i % 2 === 0 ? i : -i, i >> 4]);
    both.compare();
    for (let i = 8; i <= 20_000; i += 8) both.remove([i, i >> 4]);
    both.compare();
    // The room is there for the next ones.
    const { byteLength } = both.table;
    for (let i = 1; i <= 10_000; i++) both.set([i, 7], i);
    both.compare();
    expect(both.table.byteLength).toBe(byteLength);
  });

  it("spreads keys that are addresses, far apart or near, over its segments", () => {
    for (const stride of [1, 4, 16, 120, 4_096]) {
      const table = new IntTable(1, 1, null);
      for (let i = 1; i <= 50_000; i++) table.insert(Int32Array.of(i * stride));
      expect(table.size / table.places).toBeGreaterThan(0.4);
    }
  });
});
