import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashBytes } from "./hash-bytes.ts";
import { TextTable } from "./text-table.ts";

const utf8 = new TextEncoder();

/** Interns what stands in the midst of other bytes. */
function intern(table: TextTable, text: string): number {
  const bytes = utf8.encode(`<${text}>`);
  return table.intern(bytes, 1, bytes.length - 1);
}
function find(table: TextTable, text: string): number {
  const bytes = utf8.encode(`{${text}`);
  return table.find(bytes, 1, bytes.length);
}
function textOf(table: TextTable, code: number): string {
  return new TextDecoder().decode(table.bytesOf(code).slice(table.startOf(code), table.endOf(code)));
}

/** Two texts with the same hash: among some hundred thousand there are some. */
function collision(): readonly [string, string] {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    const text = `shop-${i}`;
    const bytes = utf8.encode(text);
    const hash = hashBytes(bytes, 0, bytes.length);
    const other = seen.get(hash);
    if (other !== undefined) return [other, text];
    seen.set(hash, text);
  }
}

describe("TextTable", () => {
  it("keeps each text and number once, under one code, as long as somebody refers to it", () => {
    const value = fc.oneof(
      fc.constantFrom("", "a", "b", "ä€💶", "a shop with a much longer name than most", "12345678"),
      fc.constantFrom(0, 1, -1, 0.1, 1e300, Number.NaN),
    );
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ intern: value }) },
      { weight: 4, arbitrary: fc.record({ release: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant("restart" as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        let table = new TextTable(null);
        const known = new Map<string | number, { readonly code: number; references: number }>();
        for (const one of steps) {
          if (one === "restart") {
            table = new TextTable(structuredClone(table.snapshot()));
          } else if ("intern" in one) {
            const { intern: it } = one;
            const code = typeof it === "string" ? intern(table, it) : table.internNumber(it);
            const entry = known.get(it);
            if (entry === undefined) known.set(it, { code, references: 1 });
            else {
              expect(code).toBe(entry.code);
              entry.references++;
            }
          } else {
            const [it, entry] = [...known][one.release % Math.max(1, known.size)] ?? [];
            if (it === undefined || entry === undefined) continue;
            table.release(entry.code);
            if (--entry.references === 0) known.delete(it);
          }
        }
        expect(table.size).toBe(known.size);
        expect(new Set([...known.values()].map(({ code }) => code)).size).toBe(known.size);
        for (const [it, { code }] of known) {
          expect(typeof it === "string" ? find(table, it) : table.findNumber(it)).toBe(code);
          if (typeof it === "string") expect(textOf(table, code)).toBe(it);
        }
        for (const gone of ["c", "shop"]) expect(find(table, gone)).toBe(0);
      }),
    );
  });

  it("takes the two zeros for one number", () => {
    const table = new TextTable(null);
    expect(table.internNumber(-0)).toBe(table.internNumber(0));
  });

  it("tells texts of one hash apart, in whatever order they go", () => {
    const [one, other] = collision();
    for (const first of [one, other]) {
      const table = new TextTable(null);
      const codes = new Map([one, other].map((text) => [text, intern(table, text)]));
      expect(find(table, one)).not.toBe(find(table, other));
      const last = first === one ? other : one;
      table.release(codes.get(first) as number);
      expect(find(table, first)).toBe(0);
      expect(textOf(table, find(table, last))).toBe(last);
      table.release(codes.get(last) as number);
      expect(table.size).toBe(0);
    }
  });

  it("uses the room of texts that are forgotten", () => {
    const table = new TextTable(null);
    const round = (from: number): void => {
      const codes = Array.from({ length: 2_000 }, (_, i) => intern(table, `merchant-${from + i}`));
      for (const code of codes) table.release(code);
    };
    round(0);
    const { byteLength } = table;
    for (let i = 1; i < 20; i++) round(i * 2_000);
    expect(table.size).toBe(0);
    expect(table.byteLength).toBeLessThan(byteLength * 1.2);
  });
});
