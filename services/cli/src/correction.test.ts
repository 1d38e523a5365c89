import { describe, expect, it } from "vitest";
import { type Correction, correct, parseAssignment } from "./correction.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const none: Correction = { set: new Map(), drop: [], value: null };
const applied = (original: string | null, correction: Partial<Correction>): unknown => {
  const corrected = correct(original === null ? null : bytes(original), { ...none, ...correction });
  return corrected.ok ? JSON.parse(new TextDecoder().decode(corrected.value)) : corrected.why;
};

describe("parseAssignment", () => {
  it.each([
    ["delay=12", ["delay", 12]],
    ["ok=true", ["ok", true]],
    ['code="12"', ["code", "12"]],
    ["origin=DEN", ["origin", "DEN"]],
    ["note=a=b", ["note", "a=b"]],
    ["empty=", ["empty", ""]],
    ["gone=null", ["gone", null]],
  ])("reads %s", (text, expected) => {
    expect(parseAssignment(text)).toEqual(expected);
  });

  it.each(["delay", "=3", ""])("refuses %j", (text) => {
    expect(() => parseAssignment(text)).toThrow(RangeError);
  });
});

describe("correct", () => {
  it("keeps the very bytes when nothing is to be corrected", () => {
    const original = bytes('{ "a" : 1.0 }');
    expect(correct(original, none)).toEqual({ ok: true, value: original });
    const garbage = Uint8Array.of(0xff, 0xfe);
    expect(correct(garbage, none)).toEqual({ ok: true, value: garbage });
  });

  it("sets and drops fields, also inside", () => {
    const set = new Map<string, unknown>([
      ["delay", 12],
      ["data.origin", "DEN"],
    ]);
    expect(
      applied('{"delay":"late","x":1,"data":{"y":2}}', { set, drop: ["x", "data.y", "nothing.there"] }),
    ).toEqual({
      delay: 12,
      data: { origin: "DEN" },
    });
  });

  it("replaces the whole value, and corrects what took its place", () => {
    expect(applied("not json", { value: bytes('{"a":1}') })).toEqual({ a: 1 });
    expect(applied(null, { value: bytes('{"a":1}'), set: new Map([["b", 2]]) })).toEqual({ a: 1, b: 2 });
  });

  it("says why it cannot correct", () => {
    const set = new Map([["a.b", 1]]);
    expect(applied("nope", { set })).toMatch(/not JSON/);
    expect(applied("[1]", { set })).toMatch(/not a JSON object/);
    expect(applied('{"a":3}', { set })).toBe("a.b: a is not an object");
    expect(applied(null, {})).toMatch(/no value/);
  });

  it("sets a field called __proto__ as a field", () => {
    const corrected = correct(bytes("{}"), { ...none, set: new Map([["__proto__.admin", true]]) });
    expect(corrected.ok && new TextDecoder().decode(corrected.value)).toBe('{"__proto__":{"admin":true}}');
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });
});
