import fc from "fast-check";
import { expect, it } from "vitest";
import { StopTexts } from "./stop-texts.ts";

/** What passes when the text comes in these parts. */
function passed(parts: readonly string[], stops: readonly string[]): string {
  const filter = new StopTexts(stops);
  let out = "";
  for (const part of parts) {
    const { text, stopped } = filter.push(part);
    out += text;
    if (stopped) return out;
  }
  return out + filter.end();
}

/** The text up to the stop text that is whole first: by trying every end in turn. */
function expected(text: string, stops: readonly string[]): string {
  for (let end = 1; end <= text.length; end++) {
    const lengths = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    if (lengths.length > 0) return text.slice(0, end - Math.max(...lengths));
  }
  return text;
}

it("ends before the first stop text, however the text is split", () => {
  const few = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(few, { maxLength: 8 }), fc.array(few, { maxLength: 3 }), (parts, stops) => {
      expect(passed(parts, stops)).toBe(expected(parts.join(""), stops));
    }),
    { numRuns: 2_000 },
  );
});

it("holds back no more than what may become a stop text", () => {
  const filter = new StopTexts(["\nUser:", "END"]);
  expect(filter.push("one EN")).toEqual({ text: "one ", stopped: false });
  expect(filter.push("TRY\n")).toEqual({ text: "ENTRY", stopped: false });
  expect(filter.push("User: two")).toEqual({ text: "", stopped: true });
  expect(filter.end()).toBe("");
});
