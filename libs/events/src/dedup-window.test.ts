import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DedupWindow } from "./index.ts";

const utf8 = new TextEncoder();

describe("DedupWindow", () => {
  it("knows exactly the newest idsMax ids, also across snapshots at any moment (E3)", () => {
    const id = fc.oneof(
      fc.integer({ min: 0, max: 40 }).map((n) => `o-${n}`),
      fc.string({ unit: "binary" }),
    );
    const step = fc.record({ id, restart: fc.boolean() });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 17 }), fc.array(step, { maxLength: 200 }), (idsMax, steps) => {
        const admitted: string[] = [];
        let window = new DedupWindow(idsMax);
        for (const { id: next, restart } of steps) {
          const isNew = !admitted.slice(-idsMax).includes(next);
          expect(window.admit(next)).toBe(isNew);
          if (isNew) admitted.push(next);
          if (restart) window = new DedupWindow(idsMax, structuredClone(window.snapshot()));
        }
      }),
    );
  });

  it("is the same when it is made anew from the newest ids alone", () => {
    const ids = Array.from({ length: 5_000 }, (_, i) => `o-${i}`);
    const window = new DedupWindow(1_000);
    for (const id of ids) window.admit(id);
    const anew = new DedupWindow(1_000);
    for (const id of ids.slice(-1_000)) anew.admit(id);
    expect(anew.snapshot()).toEqual(window.snapshot());
  });

  it("takes an id as text and as bytes for the same one", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat({ max: 9 }), (id, offset) => {
        const text = utf8.encode(id);
        const bytes = new Uint8Array(offset + text.length + 5).fill(7);
        bytes.set(text, offset);
        const window = new DedupWindow();
        expect(window.hasBytes(bytes, offset, offset + text.length)).toBe(false);
        expect(window.admit(id)).toBe(true);
        expect(window.hasBytes(bytes, offset, offset + text.length)).toBe(true);
        expect(window.admitBytes(bytes, offset, offset + text.length)).toBe(false);
      }),
    );
  });

  it("tells 600,000 ids that look alike apart", () => {
    const window = new DedupWindow(600_000);
    let admitted = 0;
    for (let i = 0; i < 300_000; i++) {
      admitted += Number(window.admit(`20010105-${i}`)) + Number(window.admit(`${i}-20010105`));
    }
    expect(admitted).toBe(600_000);
    expect(window.admit("299999-20010105")).toBe(false);
  });

  it("keeps in a snapshot only what it holds", () => {
    const window = new DedupWindow();
    window.admit("a");
    expect(window.snapshot()).toHaveLength(2);
  });

  it("takes of a larger window's snapshot the newest ids", () => {
    const window = new DedupWindow(10);
    for (let i = 0; i < 9; i++) window.admit(String(i));
    const smaller = new DedupWindow(5, window.snapshot());
    expect(smaller.admit("3")).toBe(true);
    expect(smaller.admit("8")).toBe(false);
  });
});
