import type { Example } from "@millrace/contracts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ExampleRow, type LabelCounts, LabelJoin, type LabelJoinOptions, toExample } from "./index.ts";
import { NO_COUNTS } from "./label-counts.ts";

const WAIT = 3_600_000;
const LATE = 600_000;
const WIDTH = 3;
const optionsOf = (label: Partial<LabelJoinOptions["label"]> = {}): LabelJoinOptions => ({
  label: { waitFor: "1h", silence: "unknown", conflict: "first", waitingMax: 1_000, ...label },
  lateMax: "10m",
  features: "digest",
  width: WIDTH,
});
const kept = (example: ExampleRow | null): Example | null => (example === null ? null : toExample(example));
const valuesOf = (n: number): Float64Array =>
  Float64Array.of(n / 3, n % 2 === 0 ? Number.NaN : -0, 1e300 * n);

/** A join, the examples it gave, and short ways to add to it. The wall clock runs on by itself. */
function story(label: Partial<LabelJoinOptions["label"]> = {}) {
  let clock = 5_000;
  const join = new LabelJoin(optionsOf(label), null);
  return {
    join,
    vector: (id: string, time: number) =>
      kept(join.addVector(id, { time, acceptedAtMs: clock++ }, valuesOf(time))),
    label: (id: string, time: number, positive: boolean) =>
      kept(join.addLabel(id, { time, acceptedAtMs: clock++ }, positive)),
    advance: (time: number) => {
      const given: Example[] = [];
      join.advance(time, clock++, (example) => given.push(toExample(example)));
      return given;
    },
  };
}
const counts = (some: Partial<LabelCounts>): LabelCounts => ({ ...NO_COUNTS, ...some });

describe("a vector and its label", () => {
  it("are one example, with the values as they were served and the times at which each was accepted", () => {
    const { join } = story();
    const values = [0.1, Number.NaN, 1e-300];
    expect(join.addVector("a", { time: 100, acceptedAtMs: 7 }, values)).toBeNull();
    values.fill(0);
    expect(kept(join.addLabel("a", { time: 250, acceptedAtMs: 9 }, true))).toEqual({
      id: "a",
      time: 100,
      knownAt: 250,
      label: 1,
      values: [0.1, null, 1e-300],
      features: "digest",
      revision: 0,
      labelled: "event",
      vectorAcceptedAtMs: 7,
      labelAcceptedAtMs: 9,
    });
    expect(join.counts).toEqual(counts({ matched: 1 }));
  });

  it("may come in either order; a label is known from its event on, never before the vector's own time", () => {
    const { label, vector } = story();
    label("a", 40, false);
    expect(vector("a", 100)).toMatchObject({
      label: 0,
      knownAt: 100,
      vectorAcceptedAtMs: 5_001,
      labelAcceptedAtMs: 5_000,
    });
    label("b", 140, true);
    expect(vector("b", 100)).toMatchObject({ label: 1, knownAt: 140 });
  });

  it("are named by bytes or by text alike, however long", () => {
    const { join } = story();
    const event = { time: 0, acceptedAtMs: 0 };
    for (const id of ["", "ä\u{1F6EB}", "0", "\0", "\0\0", "x".repeat(5_000), "y".repeat(100_000)]) {
      const bytes = new TextEncoder().encode(`(${id})`);
      join.addVector({ bytes, start: 1, end: bytes.length - 1 }, event, valuesOf(1));
      expect(kept(join.addLabel(id, event, true))?.id).toBe(id);
    }
  });

  it("of an id that is remembered already: the second vector is left out", () => {
    const { join, vector, label } = story();
    vector("a", 100);
    expect(vector("a", 200)).toBeNull();
    expect(label("a", 300, true)?.time).toBe(100);
    expect(vector("a", 400)).toBeNull();
    expect(join.counts).toEqual(counts({ matched: 1, duplicates: 2 }));
  });
});

describe("silence", () => {
  it("means nothing where it is unknown: the vector expires, and its label is late", () => {
    const { join, vector, label, advance } = story();
    vector("a", 0);
    label("b", 0, true);
    expect(advance(WAIT)).toEqual([]);
    expect([join.waiting, join.early]).toEqual([1, 1]);
    expect(advance(WAIT + 1)).toEqual([]);
    expect([join.waiting, join.early]).toEqual([0, 0]);
    expect(label("a", WAIT, true)).toBeNull();
    expect(join.counts).toEqual(counts({ expired: 1, unmatched: 1, late: 1 }));
  });

  it("is a negative where it means no, known at the end of the wait", () => {
    const { join, vector, advance } = story({ silence: "negative" });
    vector("a", 500);
    expect(advance(500 + WAIT)).toEqual([]);
    expect(advance(501 + WAIT)).toMatchObject([
      {
        id: "a",
        label: 0,
        labelled: "silence",
        revision: 0,
        knownAt: 500 + WAIT,
        vectorAcceptedAtMs: 5_000,
        labelAcceptedAtMs: 5_002,
      },
    ]);
    expect(advance(501 + WAIT)).toEqual([]);
    expect(join.counts).toEqual(counts({ silent: 1 }));
  });

  it("comes in the order of event time, of equal ones in the order of arrival, and a late vector holds none back", () => {
    const { vector, advance } = story({ silence: "negative" });
    for (const [id, time] of Object.entries({ c: 900, a: 100, d: 900, b: 500, e: 2_000 })) vector(id, time);
    expect(advance(WAIT + 101).map(({ id }) => id)).toEqual(["a"]);
    vector("late", 50);
    expect(advance(WAIT + 1_000).map(({ id }) => id)).toEqual(["late", "b", "c", "d"]);
  });

  it.each(["last", "positive"] as const)("is corrected by a label that comes after it (%s)", (conflict) => {
    const { join, vector, label, advance } = story({ silence: "negative", conflict });
    vector("in the window, but late", 0);
    vector("after the window", 0);
    advance(WAIT + 1);
    expect(label("in the window, but late", WAIT - 5, true)).toMatchObject({
      label: 1,
      labelled: "event",
      revision: 1,
      knownAt: WAIT - 5,
    });
    expect(label("after the window", WAIT + 5, false)).toBeNull();
    expect(label("after the window", WAIT + 6, true)).toMatchObject({ revision: 1, knownAt: WAIT + 6 });
    expect(join.counts).toEqual(counts({ silent: 2, corrected: 2, repeated: 1 }));
  });

  it("is the last word where the first counts", () => {
    const { join, vector, label, advance } = story({ silence: "negative", conflict: "first" });
    vector("a", 0);
    advance(WAIT + 1);
    expect(label("a", 5, true)).toBeNull();
    expect(join.counts).toEqual(counts({ silent: 1, late: 1 }));
  });

  it("is corrected for as long as a label of the window may be late; then a label finds no vector", () => {
    const { join, vector, label, advance } = story({ silence: "negative", conflict: "last" });
    vector("a", 0);
    vector("b", 0);
    advance(WAIT + LATE);
    expect(label("a", 10, true)?.revision).toBe(1);
    advance(WAIT + LATE + 1);
    expect(join.remembered).toBe(0);
    expect(label("b", 10, true)).toBeNull();
    expect(join.early).toBe(1);
  });
});

describe("a label from after the window", () => {
  it("is late where silence says nothing, even while the vector waits", () => {
    const { join, vector, label } = story({ conflict: "last" });
    vector("a", 0);
    expect(label("a", WAIT + 1, true)).toBeNull();
    label("b", WAIT + 1, true);
    expect(vector("b", 0)).toBeNull();
    expect([join.waiting, join.early]).toEqual([2, 0]);
    expect(label("a", WAIT, true)?.label).toBe(1);
    expect(join.counts).toEqual(counts({ matched: 1, late: 2 }));
  });

  it("counts at once where it would correct the silence", () => {
    const { join, vector, label, advance } = story({ silence: "negative", conflict: "positive" });
    vector("a", 0);
    expect(label("a", WAIT + 1, true)).toMatchObject({ revision: 0, labelled: "event", knownAt: WAIT + 1 });
    expect(advance(WAIT + 1)).toEqual([]);
    expect(join.counts).toEqual(counts({ matched: 1 }));
  });
});

describe("several labels for one event", () => {
  const two = (conflict: LabelJoinOptions["label"]["conflict"]) => {
    const told = story({ conflict });
    told.vector("a", 0);
    told.label("a", 10, false);
    return told;
  };

  it("first: the first that comes counts", () => {
    const { join, label } = two("first");
    expect([label("a", 20, true), label("a", 30, false)]).toEqual([null, null]);
    expect(join.counts).toEqual(counts({ matched: 1, conflicting: 1, repeated: 1 }));
  });

  it("last: the newest by event time counts, in whatever order they come", () => {
    const { join, label } = two("last");
    expect(label("a", 30, true)).toMatchObject({ label: 1, revision: 1, knownAt: 30 });
    expect(label("a", 20, false)).toBeNull();
    expect(label("a", 50, true)).toBeNull();
    expect(label("a", 40, false)).toBeNull();
    expect(label("a", 50, false)).toMatchObject({ label: 0, revision: 2, values: [0, null, 0] });
    expect(join.counts).toEqual(counts({ matched: 1, corrected: 2, conflicting: 2, repeated: 1 }));
  });

  it("positive: only a change from no to yes counts", () => {
    const { join, label } = two("positive");
    expect(label("a", 5, true)).toMatchObject({ label: 1, revision: 1, knownAt: 5 });
    expect(label("a", 30, false)).toBeNull();
    expect(join.counts).toEqual(counts({ matched: 1, corrected: 1, conflicting: 1 }));
  });

  it("before their vector: one of them waits for it, by the same rule", () => {
    for (const [conflict, knownAt] of [
      ["first", 10],
      ["last", 30],
      ["positive", 20],
    ] as const) {
      const { join, vector, label } = story({ conflict });
      label("a", 10, false);
      label("a", 20, true);
      label("a", 30, false);
      expect(vector("a", 0)).toMatchObject({ knownAt, label: conflict === "positive" ? 1 : 0, revision: 0 });
      const { matched, repeated, conflicting } = join.counts;
      expect([matched, repeated + conflicting]).toEqual([1, 2]);
    }
  });
});

describe("memory", () => {
  it("gives the oldest up when more than waitingMax wait, and counts them", () => {
    const { join, vector, label } = story({ waitingMax: 2 });
    for (const [id, time] of Object.entries({ b: 20, c: 30, a: 10, d: 40 })) vector(id, time);
    expect(join.counts.givenUp).toBe(2);
    expect([label("c", 50, true)?.id, label("d", 50, true)?.id]).toEqual(["c", "d"]);
    for (const id of ["x", "y", "z"]) label(id, 60, true);
    expect(join.early).toBe(2);
    expect(join.counts.unmatched).toBe(1);
  });

  it("remembers at most waitingMax vectors for further labels", () => {
    const { join, vector, label } = story({ waitingMax: 2, conflict: "last" });
    for (const [i, id] of ["a", "b", "c"].entries()) {
      vector(id, i);
      label(id, 10 + i, false);
    }
    expect(join.remembered).toBe(2);
    expect([label("a", 50, true), label("b", 50, true)?.revision]).toEqual([null, 1]);
    expect(join.counts).toEqual(counts({ matched: 3, corrected: 1, forgotten: 1 }));
  });

  it("is used again, and takes about 300 bytes for a waiting vector of 22 values", () => {
    const join = new LabelJoin({ ...optionsOf({ waitingMax: 100_000 }), width: 22 }, null);
    const values = new Float64Array(22);
    let n = 0;
    const addMany = (): void => {
      for (const end = n + 100_000; n < end; n++) {
        join.addVector(
          `f81d4fae-7dec-11d0-a765-${String(n).padStart(12, "0")}`,
          { time: n, acceptedAtMs: n },
          values,
        );
      }
    };
    addMany();
    const { bytes } = join;
    expect(bytes / 100_000).toBeLessThan(320);
    addMany();
    expect(join.bytes).toBe(bytes);
    expect(join.counts.givenUp).toBe(100_000);
  });

  it("of another feature definition is refused", () => {
    const { join } = story();
    expect(() => new LabelJoin({ ...optionsOf(), width: 4 }, join.snapshot())).toThrow(
      /3 values.*begin without it/,
    );
    expect(() => new LabelJoin({ ...optionsOf(), features: "new" }, join.snapshot())).toThrow(RangeError);
  });
});

/** Vectors, labels and stream times in any order. Event times lie around those of the stream, some far off. */
type Step =
  | { readonly kind: "vector"; readonly id: number; readonly time: number }
  | { readonly kind: "label"; readonly id: number; readonly time: number; readonly positive: boolean };

const time = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 4 }).map((quarters) => (quarters * WAIT) / 2) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 3 * WAIT }) },
  { weight: 1, arbitrary: fc.integer({ min: -1e12, max: 1e13 }) },
);
const id = fc.integer({ min: 0, max: 12 });
const steps = fc.array(
  fc.oneof(
    fc.record<Step & { kind: "vector" }>({ kind: fc.constant("vector"), id, time }),
    fc.record<Step & { kind: "label" }>({ kind: fc.constant("label"), id, time, positive: fc.boolean() }),
  ),
  { maxLength: 80 },
);
const label = fc.record({
  waitFor: fc.constant("1h" as const),
  silence: fc.constantFrom("unknown" as const, "negative" as const),
  conflict: fc.constantFrom("first" as const, "last" as const, "positive" as const),
  waitingMax: fc.constantFrom(1, 3, 1_000),
});

/** The third newest event time so far, as the stream's clock. */
function streamTimes(list: readonly Step[]): number[] {
  return list.map((_, i) => {
    const newest = list.slice(0, i + 1).map((step) => step.time);
    return newest.sort((a, b) => b - a)[2] ?? Number.NEGATIVE_INFINITY;
  });
}

type Joins = Pick<LabelJoin, "addVector" | "addLabel" | "advance" | "counts">;

/** The examples of each step. `renew` may put another join in the place of the one before a step. */
function play<J extends Joins>(
  list: readonly Step[],
  begin: J,
  renew: (join: J, step: number) => J,
): [Example[][], J] {
  let join = begin;
  const clock = streamTimes(list);
  const given = list.map((step, i) => {
    join = renew(join, i);
    const examples: Example[] = [];
    const acceptedAtMs = 1_000 + i;
    join.advance(clock[i] as number, acceptedAtMs, (example) => examples.push(toExample(example)));
    const event = { time: step.time, acceptedAtMs };
    const example =
      step.kind === "vector"
        ? join.addVector(`${step.id}`, event, valuesOf(i))
        : join.addLabel(`${step.id}`, event, step.positive);
    return example === null ? examples : [...examples, toExample(example)];
  });
  return [given, join];
}
const same = <J>(join: J): J => join;

describe("any order of vectors, labels and stream times", () => {
  it("gives what arrays looked through from end to end give", () => {
    fc.assert(
      fc.property(steps, label, (list, definition) => {
        const [given, join] = play(list, new LabelJoin(optionsOf(definition), null), same);
        const [expected, naive] = play(list, new NaiveJoin(definition), same);
        expect(given).toEqual(expected);
        expect(join.counts).toEqual(naive.counts);
      }),
      { numRuns: 2_000 },
    );
  });

  it("gives the same when a join goes on from a snapshot, at any steps (L1)", () => {
    fc.assert(
      fc.property(steps, label, fc.array(fc.nat({ max: 79 })), (list, definition, cuts) => {
        const options = optionsOf(definition);
        const restart = (join: LabelJoin, step: number): LabelJoin => {
          if (!cuts.includes(step)) return join;
          const again = new LabelJoin(options, structuredClone(join.snapshot()));
          expect(again.snapshot()).toEqual(join.snapshot());
          return again;
        };
        const [whole, one] = play(list, new LabelJoin(options, null), same);
        const [parts, other] = play(list, new LabelJoin(options, null), restart);
        expect(parts).toEqual(whole);
        expect(other.counts).toEqual(one.counts);
      }),
    );
  });

  it("ends every vector and every label in one way (L2), and numbers the examples of a vector (L3)", () => {
    fc.assert(
      fc.property(steps, label, (list, definition) => {
        const [given, join] = play(list, new LabelJoin(optionsOf(definition), null), same);
        const { matched, silent, expired, givenUp, duplicates } = join.counts;
        const { corrected, repeated, conflicting, late, unmatched } = join.counts;
        const vectors = list.filter(({ kind }) => kind === "vector").length;
        expect(matched + silent + expired + givenUp + duplicates + join.waiting).toBe(vectors);
        expect(matched + corrected + repeated + conflicting + late + unmatched + join.early).toBe(
          list.length - vectors,
        );
        const examples = given.flat();
        expect(examples).toHaveLength(matched + silent + corrected);
        const byVector = Map.groupBy(examples, (example) => example.vectorAcceptedAtMs);
        for (const [acceptedAtMs, revisions] of byVector) {
          expect(revisions.map(({ revision }) => revision)).toEqual([...revisions.keys()]);
          const values = [...valuesOf(acceptedAtMs - 1_000)].map((value) =>
            Number.isNaN(value) ? null : value,
          );
          for (const example of revisions) expect(example.values).toEqual(values);
        }
        join.advance(Number.MAX_VALUE, 0, () => {});
        expect([join.waiting, join.early, join.remembered]).toEqual([0, 0, 0]);
      }),
    );
  });

  it("leaves the label with the newest event time, whatever the order (last), while nothing is over", () => {
    const told = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 1_000 }), fc.boolean()), {
      minLength: 1,
      selector: ([labelTime]) => labelTime,
    });
    fc.assert(
      fc.property(told, fc.nat(), (labels, at) => {
        const join = new LabelJoin(optionsOf({ conflict: "last" }), null);
        const examples = labels.flatMap(([labelTime, positive], i) => [
          i === at % labels.length
            ? kept(join.addVector("a", { time: 0, acceptedAtMs: 0 }, valuesOf(0)))
            : null,
          kept(join.addLabel("a", { time: labelTime, acceptedAtMs: 0 }, positive)),
        ]);
        const final = examples.filter((example) => example !== null).at(-1);
        const newest = labels.toSorted(([a], [b]) => b - a)[0] as [number, boolean];
        expect(final?.label).toBe(newest[1] ? 1 : 0);
      }),
    );
  });
});

interface NaiveVector {
  readonly id: string;
  readonly time: number;
  readonly acceptedAtMs: number;
  readonly values: Float64Array;
  /** Labels that counted, the newest example's last; one by silence has the time -Infinity. */
  labels: { label: number; time: number }[];
  examples: number;
  over: "" | "labelled" | "silent" | "expired";
}

/** The rules once more, over arrays. */
class NaiveJoin implements Joins {
  readonly counts: LabelCounts = { ...NO_COUNTS };
  #vectors: NaiveVector[] = [];
  #early: { id: string; label: number; time: number; newest: number; acceptedAtMs: number }[] = [];
  readonly #label: LabelJoinOptions["label"];

  constructor(definition: LabelJoinOptions["label"]) {
    this.#label = definition;
  }

  addVector(
    vectorId: string,
    event: { time: number; acceptedAtMs: number },
    values: ArrayLike<number>,
  ): ExampleRow | null {
    if (this.#vectors.some((one) => one.id === vectorId)) {
      this.counts.duplicates++;
      return null;
    }
    const vector: NaiveVector = {
      id: vectorId,
      ...event,
      values: Float64Array.from(values),
      labels: [],
      examples: 0,
      over: "",
    };
    this.#vectors.push(vector);
    const early = this.#early.find((one) => one.id === vectorId);
    this.#early = this.#early.filter((one) => one !== early);
    if (early !== undefined && this.#isInTime(early.time, vector)) {
      this.counts.matched++;
      const example = this.#tell(vector, early.label, early.time, early.newest, early.acceptedAtMs);
      this.#bound();
      return example;
    }
    if (early !== undefined) this.counts.late++;
    this.#bound();
    return null;
  }

  addLabel(
    vectorId: string,
    event: { time: number; acceptedAtMs: number },
    positive: boolean,
  ): ExampleRow | null {
    const said = positive ? 1 : 0;
    const vector = this.#vectors.find((one) => one.id === vectorId);
    if (vector === undefined) {
      const early = this.#early.find((one) => one.id === vectorId);
      if (early === undefined) {
        this.#early.push({ id: vectorId, label: said, newest: event.time, ...event });
      } else if (this.#replaces(early.label, early.newest, said, event.time)) {
        this.counts.conflicting++;
        this.#early = this.#early.filter((one) => one !== early);
        this.#early.push({ id: vectorId, label: said, newest: event.time, ...event });
      } else if (early.label === said) early.newest = Math.max(early.newest, event.time);
      this.#bound();
      return null;
    }
    const silenceStands = vector.over === "silent" && this.#label.conflict === "first";
    if (vector.over === "expired" || silenceStands || !this.#isInTime(event.time, vector)) {
      this.counts.late++;
      return null;
    }
    const known = vector.labels.at(-1);
    if (known === undefined) this.counts.matched++;
    else if (this.#replaces(known.label, known.time, said, event.time)) this.counts.corrected++;
    else {
      if (known.label === said) known.time = Math.max(known.time, event.time);
      return null;
    }
    const example = this.#tell(vector, said, event.time, event.time, event.acceptedAtMs);
    this.#bound();
    return example;
  }

  advance(streamTimeMs: number, acceptedAtMs: number, give: (example: ExampleRow) => void): void {
    const isOver = (one: { time: number }, span: number): boolean => one.time + span < streamTimeMs;
    this.counts.unmatched += this.#early.filter((one) => isOver(one, WAIT)).length;
    this.#early = this.#early.filter((one) => !isOver(one, WAIT));
    const due = this.#vectors.filter((one) => one.over === "" && isOver(one, WAIT));
    for (const vector of due.sort((a, b) => a.time - b.time)) {
      if (this.#label.silence === "unknown") {
        vector.over = "expired";
        this.counts.expired++;
      } else {
        this.counts.silent++;
        vector.over = "silent";
        give(this.#tell(vector, 0, vector.time + WAIT, Number.NEGATIVE_INFINITY, acceptedAtMs));
      }
      this.#bound();
    }
    this.#vectors = this.#vectors.filter((one) => one.over === "" || !isOver(one, WAIT + LATE));
  }

  #isInTime(labelTime: number, vector: NaiveVector): boolean {
    if (labelTime <= vector.time + WAIT) return true;
    return this.#label.silence === "negative" && this.#label.conflict !== "first";
  }

  #replaces(known: number, knownTime: number, said: number, saidTime: number): boolean {
    if (known === said) {
      this.counts.repeated++;
      return false;
    }
    const { conflict } = this.#label;
    if ((conflict === "last" && saidTime >= knownTime) || (conflict === "positive" && said === 1))
      return true;
    this.counts.conflicting++;
    return false;
  }

  #tell(
    vector: NaiveVector,
    said: number,
    knownAt: number,
    newest: number,
    labelAcceptedAtMs: number,
  ): ExampleRow {
    vector.labels.push({ label: said, time: newest });
    if (vector.over !== "silent" || vector.examples > 0) vector.over = "labelled";
    const bytes = new TextEncoder().encode(vector.id);
    return {
      id: { bytes, start: 0, end: bytes.length },
      time: vector.time,
      knownAt: Math.max(vector.time, knownAt),
      label: said,
      values: vector.values,
      features: "digest",
      revision: vector.examples++,
      labelled: vector.over === "silent" ? "silence" : "event",
      vectorAcceptedAtMs: vector.acceptedAtMs,
      labelAcceptedAtMs,
    };
  }

  /** Forgets the oldest of each kind of which there are too many; ties by arrival, in which order the arrays are. */
  #bound(): void {
    const oldestBeyond = <T extends { time: number }>(all: readonly T[]): readonly T[] =>
      all.toSorted((a, b) => a.time - b.time).slice(0, Math.max(0, all.length - this.#label.waitingMax));
    const givenUp = oldestBeyond(this.#vectors.filter((one) => one.over === ""));
    const forgotten = oldestBeyond(this.#vectors.filter((one) => one.over !== ""));
    const unmatched = oldestBeyond(this.#early);
    this.counts.givenUp += givenUp.length;
    this.counts.forgotten += forgotten.length;
    this.counts.unmatched += unmatched.length;
    this.#vectors = this.#vectors.filter((one) => !givenUp.includes(one) && !forgotten.includes(one));
    this.#early = this.#early.filter((one) => !unmatched.includes(one));
  }
}
