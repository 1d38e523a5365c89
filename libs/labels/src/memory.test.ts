import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EntryTable, STATE } from "./entry-table.ts";
import { hashId } from "./hash-id.ts";
import { VectorSlab } from "./vector-slab.ts";

const placeOf = (text: string): { bytes: Uint8Array; start: number; end: number } => {
  const bytes = new TextEncoder().encode(text);
  return { bytes, start: 0, end: bytes.length };
};

const textAt = ({ bytes, start, end }: ReturnType<typeof placeOf>): Uint8Array => bytes.slice(start, end);

describe("entry table", () => {
  it("finds what a map finds, though hashes share their low bits and slots are used again", () => {
    // Few different low halves: long chains.
    const hash = fc.record({
      high: fc.integer({ min: 0, max: 300 }),
      low: fc.constantFrom(0, 64, -64, 1 << 20),
    });
    const steps = fc.array(fc.tuple(hash, fc.boolean()), { maxLength: 400 });
    fc.assert(
      fc.property(steps, fc.nat({ max: 400 }), (list, restartAt) => {
        let table = new EntryTable(null);
        const map = new Map<string, number>();
        list.forEach(([one, adds], i) => {
          if (i === restartAt) table = new EntryTable(structuredClone(table.snapshot()));
          const key = `${one.high}/${one.low}`;
          const slot = table.find(one);
          expect(slot >= 0 ? table.time(slot) : undefined).toBe(map.get(key));
          if (slot >= 0 && !adds) {
            table.remove(slot);
            map.delete(key);
          } else if (slot < 0 && adds) {
            table.reset(table.add(one), STATE.waiting, i, 0, i);
            map.set(key, i);
          }
        });
      }),
    );
  });

  it("keeps state, label and revision apart", () => {
    const table = new EntryTable(null);
    const slot = table.add({ high: 1, low: 1 });
    table.reset(slot, STATE.labelled, 5, 6, 7);
    for (let i = 0; i < 1_000; i++) table.addRevision(slot);
    table.setLabel(slot, 1, 9);
    table.setState(slot, STATE.expired);
    expect([table.state(slot), table.label(slot), table.labelTime(slot), table.revision(slot)]).toEqual([
      STATE.expired,
      1,
      9,
      1_000,
    ]);
    table.setLabel(slot, 0, Number.NEGATIVE_INFINITY);
    expect([table.state(slot), table.label(slot), table.revision(slot)]).toEqual([STATE.expired, 0, 1_000]);
  });
});

describe("vector slab", () => {
  it("keeps vectors and ids of any length, over frees and restarts", () => {
    const text = fc.oneof(
      { weight: 8, arbitrary: fc.string({ unit: "binary", maxLength: 80 }) },
      { weight: 1, arbitrary: fc.constant("\uFEFFa") },
      { weight: 1, arbitrary: fc.nat({ max: 300_000 }).map((length) => "x".repeat(length)) },
    );
    const steps = fc.array(fc.oneof(text, fc.nat(), fc.constant("restart" as const)), { maxLength: 100 });
    fc.assert(
      fc.property(steps, (list) => {
        let slab = new VectorSlab(2, null);
        const place = placeOf("");
        const values = new Float64Array(2);
        const kept = new Map<number, readonly [id: string, value: number]>();
        list.forEach((step, i) => {
          if (step === "restart") slab = new VectorSlab(2, structuredClone(slab.snapshot()));
          else if (typeof step === "string") {
            const id = step.toWellFormed();
            kept.set(slab.put(placeOf(id), [i, Number.NaN]), [id, i]);
          } else {
            const row = [...kept.keys()][step % kept.size];
            if (row !== undefined) slab.free(row);
            kept.delete(row as number);
          }
          for (const [row, [id, value]] of kept) {
            slab.read(row, place, values);
            expect(new TextDecoder("utf-8", { ignoreBOM: true }).decode(textAt(place))).toBe(id);
            expect(values).toEqual(Float64Array.of(value, Number.NaN));
          }
        });
      }),
      { numRuns: 50 },
    );
  });

  it("takes no values, too", () => {
    const slab = new VectorSlab(0, null);
    const place = placeOf("");
    slab.read(slab.put(placeOf("a"), []), place, new Float64Array(0));
    expect(textAt(place)).toEqual(placeOf("a").bytes);
  });
});

describe("id hash", () => {
  it("tells 200,000 ids apart, also such as differ by zero bytes only", () => {
    const seen = new Set<bigint>();
    const hash = { high: 0, low: 0 };
    const add = (bytes: Uint8Array, start: number, end: number): void => {
      hashId({ bytes, start, end }, hash);
      seen.add((BigInt(hash.high >>> 0) << 32n) | BigInt(hash.low >>> 0));
    };
    for (let n = 0; n < 200_000; n++) {
      const { bytes, end } = placeOf(`tx-${n}`);
      add(bytes, 0, end);
    }
    for (let length = 0; length < 20; length++) add(new Uint8Array(20), 0, length);
    expect(seen.size).toBe(200_020);
  });
});
