import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Block,
  type ExampleColumns,
  type Manifest,
  manifestText,
  newestKnown,
  parseManifest,
  profileExamples,
  type RevisionColumns,
  ripeUntil,
  rowsBetween,
  selectBlocks,
  splitByTime,
  validateExamples,
} from "./index.ts";

const block = (
  firstOffset: number,
  rows: number,
  minTimeMs: number,
  maxTimeMs: number,
  partition = 0,
): Block => ({
  digest: `d${partition}-${firstOffset}`,
  bytes: 1,
  partition,
  firstOffset,
  nextOffset: firstOffset + rows,
  rows,
  minTimeMs,
  maxTimeMs,
  maxKnownAtMs: maxTimeMs,
});

const examples = (rows: number, change: Partial<ExampleColumns> = {}): ExampleColumns => ({
  ids: Array.from({ length: rows }, (_, i) => `id-${i}`),
  times: Float64Array.from({ length: rows }, (_, i) => 1_000 + i),
  knownAt: Float64Array.from({ length: rows }, (_, i) => 2_000 + i),
  labels: Float32Array.from({ length: rows }, (_, i) => i % 2),
  values: [
    Float32Array.from({ length: rows }, (_, i) => i),
    Float32Array.from({ length: rows }, (_, i) => (i % 4 === 0 ? Number.NaN : i % 3)),
  ],
  ...change,
});
const NAMES = ["a", "b"];

describe("blocks", () => {
  it("selects those that reach into the window, in offset order", () => {
    const blocks = [
      block(10, 10, 200, 300),
      block(0, 10, 0, 199),
      block(0, 5, 250, 260, 1),
      block(20, 0, 900, 900),
    ];
    expect(selectBlocks(blocks, 200).map((one) => one.digest)).toEqual(["d0-10", "d1-0"]);
    expect(selectBlocks(blocks, 199).map((one) => one.digest)).toEqual(["d0-0", "d0-10", "d1-0"]);
  });

  it("counts rows between two times: exact beside them, in proportion across them", () => {
    const blocks = [block(0, 100, 0, 99), block(100, 100, 100, 200), block(200, 50, 150, 150)];
    expect(rowsBetween(blocks, -Infinity, Infinity)).toBe(250);
    expect(rowsBetween(blocks, 0, Infinity)).toBe(250);
    expect(rowsBetween(blocks, 150, Infinity)).toBe(100);
    expect(rowsBetween(blocks, 201, Infinity)).toBe(0);
    expect(rowsBetween(blocks, 0, 150)).toBe(150);
    expect(rowsBetween(blocks, 0, 151)).toBe(201);
    expect(rowsBetween(blocks, 120, 130)).toBe(10);
    expect(rowsBetween(blocks, 0, 0)).toBe(0);
    expect(rowsBetween([], 0, Infinity)).toBe(0);
  });
});

describe("newestKnown", () => {
  interface Row {
    readonly id: string;
    readonly time: number;
    readonly revision: number;
    readonly knownAt: number;
    readonly accepted: number;
    readonly vectorAccepted?: number;
  }
  const columnsOf = (rows: readonly Row[]): RevisionColumns => ({
    ids: rows.map(({ id }) => id),
    times: Float64Array.from(rows, ({ time }) => time),
    knownAt: Float64Array.from(rows, ({ knownAt }) => knownAt),
    revisions: Float64Array.from(rows, ({ revision }) => revision),
    vectorAcceptedAt: Float64Array.from(rows, ({ vectorAccepted }) => vectorAccepted ?? 0),
    labelAcceptedAt: Float64Array.from(rows, ({ accepted }) => accepted),
  });
  const row = (id: string, revision: number, knownAt: number, accepted: number, time = 0): Row => ({
    id,
    revision,
    knownAt,
    accepted,
    time,
  });

  it("answers what was known at an event time, or had been accepted by a wall-clock time", () => {
    // Silence said no at 100; a label from time 40 came late and said yes; it was taken back at 120.
    const columns = columnsOf([
      row("a", 0, 100, 1_000),
      row("b", 0, 50, 900),
      row("a", 1, 40, 2_000),
      row("a", 2, 120, 3_000),
    ]);
    const at = (knownAtMs: number, acceptedAtMs: number | null): number[] =>
      newestKnown(columns, { knownAtMs, acceptedAtMs });
    expect(at(Infinity, null)).toEqual([1, 3]);
    expect(at(119, null)).toEqual([1, 2]);
    expect(at(45, null)).toEqual([2]);
    expect(at(39, null)).toEqual([]);
    expect(at(Infinity, 2_999)).toEqual([1, 2]);
    expect(at(Infinity, 1_999)).toEqual([0, 1]);
    expect(at(99, 1_999)).toEqual([1]);
  });

  it("knows an example once both its events are accepted", () => {
    const columns = columnsOf([{ ...row("early label", 0, 10, 5), vectorAccepted: 8 }]);
    expect(newestKnown(columns, { knownAtMs: 10, acceptedAtMs: 7 })).toEqual([]);
    expect(newestKnown(columns, { knownAtMs: 10, acceptedAtMs: 8 })).toEqual([0]);
  });

  it("lets an event supersede nothing of another one with its id", () => {
    const columns = columnsOf([row("a", 0, 10, 0, 1), row("a", 0, 20, 0, 2), row("a", 1, 30, 0, 2)]);
    expect(newestKnown(columns, { knownAtMs: 99, acceptedAtMs: null })).toEqual([0, 2]);
  });

  it("keeps one row per event that is known, its newest revision, in the order of the rows (D3)", () => {
    const small = fc.integer({ min: 0, max: 5 });
    const rows = fc.uniqueArray(
      fc.record({
        id: fc.constantFrom("a", "b", "c"),
        time: small,
        revision: small,
        knownAt: small,
        accepted: small,
      }),
      { selector: ({ id, time, revision }) => `${id}/${time}/${revision}` },
    );
    fc.assert(
      fc.property(rows, small, fc.option(small), (list, knownAtMs, acceptedAtMs) => {
        const isKnown = (one: Row): boolean =>
          one.knownAt <= knownAtMs && (acceptedAtMs === null || one.accepted <= acceptedAtMs);
        const isStale = (one: Row): boolean =>
          list.some(
            (other) =>
              isKnown(other) &&
              other.id === one.id &&
              other.time === one.time &&
              other.revision > one.revision,
          );
        const expected = [...list.keys()].filter((i) => isKnown(list[i] as Row) && !isStale(list[i] as Row));
        expect(newestKnown(columnsOf(list), { knownAtMs, acceptedAtMs })).toEqual(expected);
      }),
    );
  });
});

describe("ripeUntil", () => {
  it("waits for the end of the wait where silence means no", () => {
    expect(ripeUntil({ silence: "negative", waitMs: 60 }, 1_000)).toBe(940);
    expect(ripeUntil({ silence: "unknown", waitMs: 60 }, 1_000)).toBe(Infinity);
  });
});

describe("splitByTime", () => {
  const times = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 200 });

  it("never trains on what is as new as the held-out rows (D1), and holds out at least the share", () => {
    fc.assert(
      fc.property(
        times,
        fc.double({ min: 0.05, max: 0.5, noNaN: true }),
        fc.option(fc.integer({ min: 0, max: 500 })),
        (list, share, changeMs) => {
          const split = splitByTime(Float64Array.from(list), share, changeMs);
          const pool = changeMs === null ? list : list.filter((time) => time >= changeMs);
          if (pool.length === 0) {
            expect(split).toBeNull();
            return;
          }
          const { heldOutFromMs, trainRows, heldOutRows } = split!;
          const held = list.filter((time) => time >= heldOutFromMs);
          expect(heldOutRows).toBe(held.length);
          expect(trainRows + heldOutRows).toBe(list.length);
          expect(held.length).toBeGreaterThanOrEqual(Math.round(pool.length * share));
          if (changeMs !== null) expect(heldOutFromMs).toBeGreaterThanOrEqual(changeMs);
          // As few as ties allow: without the oldest held-out time it would be less than the share.
          const newer = pool.filter((time) => time > heldOutFromMs);
          expect(newer.length).toBeLessThan(Math.max(1, Math.round(pool.length * share)));
        },
      ),
    );
  });

  it("after a change, holds out the newest of the rows since the change", () => {
    const list = Float64Array.from({ length: 1_000 }, (_, i) => i);
    expect(splitByTime(list, 0.25, null)).toEqual({ heldOutFromMs: 750, trainRows: 750, heldOutRows: 250 });
    expect(splitByTime(list, 0.25, 900)).toEqual({ heldOutFromMs: 975, trainRows: 975, heldOutRows: 25 });
  });
});

describe("validateExamples", () => {
  const split = { heldOutFromMs: 5_000, trainRows: 100, heldOutRows: 100 };
  const later = examples(100, { times: Float64Array.from({ length: 100 }, (_, i) => 5_000 + i) });
  const check = (training: ExampleColumns, heldOut: ExampleColumns = later): string[] =>
    validateExamples({
      training: profileExamples(training, NAMES),
      heldOut: profileExamples(heldOut, NAMES),
      split,
      otherFeatures: 0,
    }).map(({ severity, text }) => `${severity}: ${text}`);

  it("has nothing to say about good data", () => {
    expect(check(examples(100))).toEqual([]);
  });

  it.each<[string, Partial<ExampleColumns>, RegExp]>([
    ["one class", { labels: new Float32Array(100) }, /^blocking: All 100 training labels are 0/],
    [
      "labels beyond 0 and 1",
      { labels: new Float32Array(100).fill(2) },
      /^blocking: 100 of 100 training labels/,
    ],
    [
      "many duplicates",
      { ids: Array.from({ length: 100 }, (_, i) => `id-${i % 90}`) },
      /^blocking: 10 of 100 training examples/,
    ],
    [
      "a duplicate",
      { ids: ["id-1", ...examples(99).ids.slice(0, 99)] },
      /^warning: 1 of 100 training examples/,
    ],
    [
      "an overlap",
      { times: new Float64Array(100).fill(5_000) },
      /^blocking: Training and held-out time overlap/,
    ],
    [
      "a feature that is never known",
      { values: [examples(100).values[0]!, new Float32Array(100).fill(Number.NaN)] },
      /^warning: Feature b is unknown in all/,
    ],
    [
      "a constant feature",
      { values: [examples(100).values[0]!, new Float32Array(100).fill(7)] },
      /^warning: Feature b has the same value.*7/,
    ],
    [
      "nothing but constant features",
      { values: [new Float32Array(100).fill(7), new Float32Array(100).fill(7)] },
      /^blocking: No feature varies/,
    ],
  ])("says so: %s", (_name, change, expected) => {
    expect(check(examples(100, change))[0]).toMatch(expected);
  });

  it("blocks without rows on either side, and warns of rows of another feature definition", () => {
    const findings = validateExamples({ training: null, heldOut: null, split: null, otherFeatures: 12 });
    expect(findings.map(({ severity, text }) => `${severity}: ${text}`)).toEqual([
      "blocking: There are no training examples.",
      "blocking: There are no held-out examples.",
      "warning: 12 examples were computed by another feature definition and are left out.",
    ]);
  });
});

describe("profileExamples", () => {
  it("leaves unknown values out of the figures", () => {
    const profile = profileExamples(examples(8), NAMES);
    expect(profile).toMatchObject({
      rows: 8,
      positives: 4,
      duplicateIds: 0,
      minTimeMs: 1_000,
      maxTimeMs: 1_007,
    });
    expect(profile.features[1]).toEqual({
      name: "b",
      missing: 2,
      min: 0,
      max: 2,
      mean: (1 + 2 + 0 + 2 + 0 + 1) / 6,
    });
  });
});

describe("manifest", () => {
  const manifest = (): Manifest => {
    const profile = profileExamples(examples(8), NAMES);
    return {
      format: "millrace.dataset/2",
      line: "flights",
      topic: "flights.examples",
      label: "late",
      featureDigest: "f",
      featureNames: NAMES,
      blocks: [block(0, 8, 1_000, 1_007)],
      filter: { fromMs: 0, untilMs: 2_000, knownAtMs: 3_000, acceptedAtMs: null },
      changeMs: null,
      heldOutFromMs: 1_006,
      rows: 8,
      positives: 4,
      training: profile,
      heldOut: profile,
      findings: [],
      cause: { runId: "r", trigger: "first", cause: "first/1000" },
    };
  };

  it("has one text whatever the order of its keys (D2), and survives a round trip", () => {
    const shuffled = Object.fromEntries(Object.entries(manifest()).reverse()) as unknown as Manifest;
    expect(manifestText(shuffled)).toBe(manifestText(manifest()));
    expect(parseManifest(manifestText(manifest()))).toEqual(manifest());
  });

  it("refuses another format", () => {
    expect(() => parseManifest('{"format":"millrace.dataset/1"}')).toThrow(/millrace.dataset\/1/);
  });
});
