import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BLOCK_UNITS_MAX, chunkOf, classOf, classSize, offsetOf, Slab } from "./slab.ts";

describe("Slab", () => {
  it("gives blocks that never overlap, keep what is in them, and are used again, also over snapshots", () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant("allocate"), sizeClass: fc.nat(12) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("free"), pick: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart") }) },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 200 }), (itemUnits, steps) => {
        let slab = new Slab(itemUnits, null);
        const blocks = new Map<number, { readonly sizeClass: number; readonly mark: number }>();
        let marks = 0;
        for (const one of steps) {
          if ("sizeClass" in one) {
            const address = slab.allocate(one.sizeClass);
            expect(address).not.toBe(0);
            expect(blocks.has(address)).toBe(false);
            blocks.set(address, { sizeClass: one.sizeClass, mark: ++marks });
            const start = offsetOf(address);
            const units = classSize(one.sizeClass) * itemUnits;
            slab.floats[chunkOf(address)]?.fill(marks, start, start + units);
          } else if ("pick" in one) {
            const address = [...blocks.keys()][one.pick % Math.max(1, blocks.size)];
            if (address === undefined) continue;
            slab.free(address, blocks.get(address)?.sizeClass ?? 0);
            blocks.delete(address);
          } else slab = new Slab(itemUnits, structuredClone(slab.snapshot()));
        }
        for (const [address, { sizeClass, mark }] of blocks) {
          const start = offsetOf(address);
          const held = slab.floats[chunkOf(address)]?.slice(start, start + classSize(sizeClass) * itemUnits);
          expect(held?.length).toBe(classSize(sizeClass) * itemUnits);
          expect(held?.every((unit) => unit === mark)).toBe(true);
        }
      }),
    );
  });

  it("gives the last block back first, to blocks of the same class", () => {
    const slab = new Slab(2, null);
    const [a, b] = [slab.allocate(3), slab.allocate(3)];
    slab.free(a, 3);
    slab.free(b, 3);
    expect([slab.allocate(3), slab.allocate(3)]).toEqual([b, a]);
    slab.free(a, 3);
    expect(slab.allocate(2)).not.toBe(a);
  });

  it("sees a chunk as doubles, integers and bytes", () => {
    const slab = new Slab(1, null);
    const address = slab.allocate(0);
    const [chunk, at] = [chunkOf(address), offsetOf(address)];
    (slab.floats[chunk] as Float64Array)[at] = 1;
    expect(slab.ints[chunk]?.[at * 2 + 1]).toBe(0x3ff0_0000);
    expect(slab.bytes[chunk]?.slice(at * 8, at * 8 + 8)).toEqual(
      new Uint8Array(new Float64Array([1]).buffer),
    );
  });

  it("writes no more than is in use, and goes on in the same room", () => {
    const slab = new Slab(1, null);
    for (let i = 0; i < 10; i++) slab.allocate(0);
    const snapshot = structuredClone(slab.snapshot());
    expect(snapshot.chunks.map((chunk) => chunk.length)).toEqual([11]);
    expect(new Slab(1, snapshot).byteLength).toBe(slab.byteLength);
  });

  it("needs no more memory for having been restarted often", () => {
    let restarted = new Slab(1, null);
    const other = new Slab(1, null);
    for (let i = 0; i < 600; i++) {
      for (let k = 0; k < 10; k++) expect(restarted.allocate(6)).toBe(other.allocate(6));
      restarted = new Slab(1, structuredClone(restarted.snapshot()));
    }
    expect(restarted.byteLength).toBe(other.byteLength);
    expect(restarted.floats.length).toBe(other.floats.length);
  });

  it("refuses a block that is too large for a chunk, and says what can be done", () => {
    const slab = new Slab(BLOCK_UNITS_MAX / 2, null);
    expect(slab.allocate(1)).toBeGreaterThan(0);
    expect(() => slab.allocate(2)).toThrow(/use more partitions, shorter windows or longer panes/);
  });
});

describe("classOf", () => {
  it("is the smallest class whose blocks have room", () => {
    expect(Array.from({ length: 10 }, (_, i) => classSize(i))).toEqual([1, 2, 3, 4, 6, 8, 12, 16, 24, 32]);
    for (let items = 1; items < 5_000; items++) {
      const sizeClass = classOf(items);
      expect(classSize(sizeClass)).toBeGreaterThanOrEqual(items);
      if (sizeClass > 0) expect(classSize(sizeClass - 1)).toBeLessThan(items);
    }
    expect(classOf(0)).toBe(0);
  });
});
