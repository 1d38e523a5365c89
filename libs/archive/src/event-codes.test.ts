import { type CodedRow, compileFeatures, FeatureEngine } from "@millrace/features";
import { defineLine } from "@millrace/lines";
import { describe, expect, it } from "vitest";
import { EventCodes } from "./event-codes.ts";
import { memoryScan, type Row } from "./testing/memory-scan.ts";

const line = defineLine({
  name: "claims",
  title: "Claims",
  streams: {
    reports: {
      topic: "reports",
      id: "id",
      time: "at",
      key: ["who"],
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        who: { type: "text" },
        note: { type: "text", claimAbove: 4, optional: true },
        size: { type: "decimal", scale: 2, optional: true },
        flag: { type: "boolean", optional: true },
        unused: { type: "text", optional: true },
      },
    },
  },
  predict: { on: "reports" },
  features: {
    notes: { kind: "window", aggregate: "distinct", of: "note", from: "reports", by: ["who"], window: "1h" },
    large: {
      kind: "window",
      aggregate: "sum",
      of: "size",
      from: "reports",
      by: ["who"],
      window: "1h",
      where: "flag",
    },
  },
});

const report = (row: Record<string, string | number | null>): Row => ({
  stream: "reports",
  time: 5,
  ...Object.fromEntries(
    Object.entries({ who: "a", ...row }).map(([name, value]) => [`reports.${name}`, value]),
  ),
});

/** Of each row: fields by name, and texts as the engine has them. */
async function read(rows: readonly Row[]): Promise<(Record<string, unknown> | null)[]> {
  const engine = new FeatureEngine(compileFeatures(line), null);
  const events = new EventCodes(line, engine);
  expect(Object.keys(events.schema).sort()).toEqual(
    [
      "stream",
      "time",
      ...["who", "note", "note.sha256", "size", "flag"].map((name) => `reports.${name}`),
    ].sort(),
  );
  const names = Object.keys(line.streams["reports"]?.fields ?? {});
  const seen: (Record<string, unknown> | null)[] = [];
  const codeOf = (text: string): number => {
    const bytes = new TextEncoder().encode(text);
    return engine.intern(bytes, 0, bytes.length);
  };
  const options = { where: [], orderBy: [], signal: new AbortController().signal };
  for await (const batch of memoryScan({ file: rows }).scanCoded(["file"], events.schema, options)) {
    events.open(batch);
    for (let i = 0; i < batch.rows; i++) {
      const row = events.read(i);
      seen.push(row === null ? null : toFields(row, names));
    }
  }
  const texts = new Map(["a", "b", "n", "ab12"].map((text) => [codeOf(text), text]));
  return seen.map(
    (row) => row && { ...row, who: texts.get(row["who"] as number), note: texts.get(row["note"] as number) },
  );
}

function toFields({ numbers, codes }: CodedRow, names: readonly string[]): Record<string, unknown> {
  const at = (name: string): number => names.indexOf(name);
  return {
    who: codes[at("who")],
    note: codes[at("note")],
    size: numbers[at("size")],
    flag: numbers[at("flag")],
  };
}

describe("event codes", () => {
  it("read what the features look at: texts and claims as codes, decimals in minor units, nothing of others' streams", async () => {
    const rows = [
      report({ note: "n", size: 12.34, flag: 1 }),
      report({ who: "b", "note.sha256": "ab12", flag: 0 }),
      { ...report({}), stream: "gone" },
      report({}),
      report({ "note.sha256": "ab12" }),
      report({ note: "n" }),
    ];
    const none = { size: Number.NaN, flag: Number.NaN };
    expect(await read(rows)).toEqual([
      { who: "a", note: "n", size: 1_234, flag: 1 },
      { who: "b", note: "ab12", size: Number.NaN, flag: 0 },
      null,
      { who: "a", note: undefined, ...none },
      { who: "a", note: "ab12", ...none },
      { who: "a", note: "n", ...none },
    ]);
  });

  it("ask another engine anew for its codes", async () => {
    const plan = compileFeatures(line);
    const events = new EventCodes(line, new FeatureEngine(plan, null));
    const options = { where: [], orderBy: [], signal: new AbortController().signal };
    for await (const batch of memoryScan({ file: [report({ note: "n" })] }).scanCoded(
      ["file"],
      events.schema,
      options,
    )) {
      events.open(batch);
      events.read(0);
      const other = new FeatureEngine(plan, null);
      const decoy = new TextEncoder().encode("decoy");
      other.intern(decoy, 0, decoy.length);
      events.use(other);
      other.update(events.read(0) as CodedRow);
      expect(other.sizes).toMatchObject({ keys: 1, pairs: 1, texts: 3 });
    }
  });
});
