import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Aspired,
  type AspiredModels,
  aliases,
  championOf,
  firstTrained,
  NOTHING_ASPIRED,
  nextAspired,
  previousChampion,
  type Succession,
  type VersionFacts,
} from "./index.ts";

const facts = (version: number, recipe = "lightgbm", more: Partial<VersionFacts> = {}): VersionFacts => ({
  version,
  recipe,
  passed: true,
  featureDigest: "f1",
  ...more,
});
const BASELINE = facts(1, "baseline");
const VERSIONS = [BASELINE, facts(2), facts(3)];

const changed = (current: AspiredModels, champion: VersionFacts, versions = VERSIONS): Aspired => {
  const next = nextAspired(current, { champion, expectedGeneration: current.generation }, versions);
  if (next.outcome !== "changed") throw new Error(next.outcome);
  return next.aspired;
};

describe("aspired set", () => {
  it("begins with the baseline alone", () => {
    expect(changed(NOTHING_ASPIRED, BASELINE, [BASELINE])).toEqual({
      generation: 1,
      models: [{ version: 1, role: "champion" }],
      rollout: null,
    });
  });

  it("keeps the first trained version as a shadow beside later champions", () => {
    expect(changed({ generation: 7, models: [] }, facts(3)).models).toEqual([
      { version: 3, role: "champion" },
      { version: 2, role: "shadow" },
    ]);
  });

  it("does not shadow the champion with itself", () => {
    expect(changed(NOTHING_ASPIRED, facts(2)).models).toEqual([{ version: 2, role: "champion" }]);
  });

  it("refuses a writer that has read another generation", () => {
    const current = { generation: 4, models: [] };
    for (const expectedGeneration of [0, 3, 5]) {
      expect(nextAspired(current, { champion: facts(2), expectedGeneration }, VERSIONS)).toEqual({
        outcome: "moved-on",
        generation: 4,
      });
    }
  });

  it("never takes the baseline, an operator's, what did not pass, or one of other features as the first", () => {
    const versions = [
      BASELINE,
      facts(1, "imported"),
      facts(2, "quantised"),
      facts(3, "lightgbm", { passed: false }),
      facts(4, "lightgbm", { featureDigest: "f0" }),
      facts(5),
    ];
    expect(firstTrained(versions, "f1")).toBe(5);
    expect(firstTrained([BASELINE], "f1")).toBeNull();
  });

  it("names the aliases that there are", () => {
    expect(aliases([], NOTHING_ASPIRED)).toEqual({});
    expect(aliases([BASELINE], changed(NOTHING_ASPIRED, BASELINE, [BASELINE]))).toEqual({
      champion: 1,
      baseline: 1,
    });
    expect(aliases(VERSIONS, changed(NOTHING_ASPIRED, facts(3)))).toEqual({
      champion: 3,
      first: 2,
      baseline: 1,
    });
  });
});

describe("previous champion", () => {
  const promote = (champion: number): Succession => ({ change: "promote", champion });
  const back = (champion: number): Succession => ({ change: "rollback", champion });

  it.each<[string, Succession[], number | null]>([
    ["nothing served", [], null],
    ["one served", [promote(1)], null],
    ["the one before", [promote(1), promote(2)], 1],
    ["twice back goes back twice", [promote(1), promote(2), promote(3), back(2)], 1],
    ["not to what was rolled back from", [promote(1), promote(2), back(1), promote(3)], 1],
    ["a repeated promotion is none", [promote(1), promote(2), promote(2)], 1],
    ["the same version can serve twice", [promote(1), promote(2), promote(1)], 2],
    [
      "a rollout that is rolled back is no time of its own",
      [
        promote(1),
        promote(2),
        { change: "rollout-start", champion: 2 },
        { change: "rollback-rollout", champion: 2 },
      ],
      1,
    ],
  ])("%s", (_name, history, expected) => {
    expect(previousChampion(history)).toBe(expected);
  });
});

/** Writers that read the set at some time and write later, in any order: the model is a log of accepted writes. */
class Line {
  aspired = NOTHING_ASPIRED;
  readonly accepted: number[] = [];
  readonly versions: VersionFacts[] = [BASELINE];
}
class Writer {
  read = 0;
}
type Model = { log: number };
class Register implements fc.Command<Model, Line> {
  readonly passed: boolean;
  constructor(passed: boolean) {
    this.passed = passed;
  }
  check = (): boolean => true;
  run(_model: Model, line: Line): void {
    line.versions.push(facts(line.versions.length + 1, "lightgbm", { passed: this.passed }));
  }
  toString = (): string => `register(${this.passed})`;
}
class Read implements fc.Command<Model, Line> {
  readonly writer: Writer;
  constructor(writer: Writer) {
    this.writer = writer;
  }
  check = (): boolean => true;
  run(_model: Model, line: Line): void {
    this.writer.read = line.aspired.generation;
  }
  toString = (): string => "read";
}
class Write implements fc.Command<Model, Line> {
  readonly writer: Writer;
  readonly pick: number;
  constructor(writer: Writer, pick: number) {
    this.writer = writer;
    this.pick = pick;
  }
  check = (): boolean => true;
  run(model: Model, line: Line): void {
    const before = line.aspired;
    const champion = line.versions[this.pick % line.versions.length] as VersionFacts;
    const next = nextAspired(
      before,
      { champion, expectedGeneration: this.writer.read },
      Object.freeze(line.versions.slice()),
    );
    const isFirst = this.writer.read === model.log;
    expect(next.outcome).toBe(isFirst ? "changed" : "moved-on");
    if (next.outcome !== "changed") return;
    model.log += 1;
    line.aspired = next.aspired;
    line.accepted.push(this.writer.read);
    expect(line.aspired.generation).toBe(before.generation + 1); // V1
    expect(line.aspired.models.filter((m) => m.role === "champion")).toHaveLength(1); // V2
    expect(championOf(line.aspired)).toBe(champion.version);
    expect(new Set(line.aspired.models.map((m) => m.version)).size).toBe(line.aspired.models.length);
  }
  toString = (): string => `write(${this.pick})`;
}

describe("concurrent writers (V1, V2, V3)", () => {
  it("exactly one wins each generation, whatever the order", () => {
    const writers = Array.from({ length: 4 }, () => new Writer());
    const writer = fc.nat(3).map((i) => writers[i] as Writer);
    const commands = [
      fc.boolean().map((passed) => new Register(passed)),
      writer.map((w) => new Read(w)),
      fc.tuple(writer, fc.nat(20)).map(([w, pick]) => new Write(w, pick)),
    ];
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60 }), (script) => {
        for (const w of writers) w.read = 0;
        const line = new Line();
        fc.modelRun(() => ({ model: { log: 0 }, real: line }), script);
        expect(line.accepted).toEqual(line.accepted.map((_, i) => i));
      }),
      { numRuns: 300 },
    );
  });
});
