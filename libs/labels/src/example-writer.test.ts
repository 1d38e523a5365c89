import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createExampleRow, type ExampleRow, toExample } from "./example-row.ts";
import { ExampleWriter } from "./example-writer.ts";

const FEATURES = "0123456789abcdef";
const time = fc.integer({ min: -8.64e15, max: 8.64e15 });
const row = fc
  .record({
    id: fc.string({ unit: "binary", maxLength: 400 }).map((text) => text.toWellFormed()),
    numbers: fc.tuple(time, time, time, time),
    label: fc.constantFrom(0, 1),
    labelled: fc.constantFrom("event" as const, "silence" as const),
    revision: fc.nat(),
    cents: fc.oneof(fc.integer({ min: -1e12, max: 1e12 }), fc.constant(Number.NaN)),
    full: fc.double({ noNaN: true, noDefaultInfinity: true }),
  })
  .map(({ id, numbers, cents, full, ...rest }): ExampleRow => {
    const bytes = new TextEncoder().encode(`<${id}>`);
    const example = createExampleRow(3, FEATURES);
    const [at, knownAt, vectorAcceptedAtMs, labelAcceptedAtMs] = numbers;
    Object.assign(example, { ...rest, time: at, knownAt, vectorAcceptedAtMs, labelAcceptedAtMs });
    Object.assign(example.id, { bytes, start: 1, end: bytes.length - 1 });
    example.values.set([cents / 100, full + 0, Number.NaN]);
    return example;
  });

describe("example writer", () => {
  it("writes the text that JSON.stringify writes, byte for byte, whatever was written before", () => {
    const writer = new ExampleWriter(FEATURES, [2, "full", 12]);
    fc.assert(
      fc.property(row, (example) => {
        expect(new TextDecoder("utf-8", { ignoreBOM: true }).decode(writer.write(example))).toBe(
          JSON.stringify(toExample(example)),
        );
      }),
      { numRuns: 1_000 },
    );
  });
});
