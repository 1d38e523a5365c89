import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DedupWindow } from "./index.ts";

/** The same promise with two plain sets of ids. */
class Oracle {
  current = new Set<string>();
  previous = new Set<string>();
  readonly idsMax: number;
  constructor(idsMax: number) {
    this.idsMax = idsMax;
  }
  admit(id: string): boolean {
    if (this.current.has(id) || this.previous.has(id)) return false;
    this.current.add(id);
    if (this.current.size === this.idsMax) {
      this.previous = this.current;
      this.current = new Set();
    }
    return true;
  }
}

describe("DedupWindow", () => {
  it("answers as two sets of ids do, also across snapshots at any moment", () => {
    const id = fc.oneof(
      fc.integer({ min: 0, max: 40 }).map((n) => `o-${n}`),
      fc.string(),
    );
    const step = fc.record({ id, restart: fc.boolean() });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 17 }), fc.array(step, { maxLength: 200 }), (idsMax, steps) => {
        const oracle = new Oracle(idsMax);
        let window = new DedupWindow(idsMax);
        for (const { id, restart } of steps) {
          expect(window.admit(id)).toBe(oracle.admit(id));
          if (restart) window = new DedupWindow(idsMax, structuredClone(window.snapshot()));
        }
      }),
    );
  });

  it("never admits an id among the newest idsMax ones (E3)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 300 }),
        (idsMax, ids) => {
          const window = new DedupWindow(idsMax);
          const admitted: string[] = [];
          for (const id of ids.map(String)) {
            const isNew = window.admit(id);
            if (admitted.slice(-idsMax).includes(id)) expect(isNew).toBe(false);
            if (!admitted.includes(id)) expect(isNew).toBe(true);
            if (isNew) admitted.push(id);
          }
        },
      ),
    );
  });

  it("tells 600,000 ids that look alike apart", () => {
    const window = new DedupWindow(300_000);
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
    expect(window.snapshot()).toEqual({ current: expect.any(Uint32Array), previous: new Uint32Array(0) });
    expect(window.snapshot().current.byteLength).toBe(8);
  });

  it("refuses a snapshot that does not fit", () => {
    const window = new DedupWindow(10);
    for (let i = 0; i < 9; i++) window.admit(String(i));
    expect(() => new DedupWindow(5, window.snapshot())).toThrow(RangeError);
  });
});
