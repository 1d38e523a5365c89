import {
  type CompiledExpression,
  checkedDurationMs,
  compileExpression,
  type FieldDefinition,
  type LabelDefinition,
  type StreamDefinition,
} from "@millrace/lines";
import type { PaneAlgebra } from "./algebra/pane-algebra.ts";
import { ALWAYS, CONDITIONS, INPUTS, ONE } from "./event-values.ts";
import type {
  AccumulatorPlan,
  DecayPlan,
  DistinctPlan,
  Input,
  LevelPlan,
  SketchAsk,
  SketchPlan,
  StreamPlan,
  SummaryPart,
  SummaryPlan,
  TablePlan,
  Taken,
} from "./feature-plan.ts";
import { isPositiveRow } from "./is-positive.ts";
import { RATE_FLOATS } from "./pane-rates.ts";
import { STORE_INTS } from "./pane-store.ts";

/** Larger panes go on in a second level with panes of the same length: a block of panes has a bound. */
const STRIDE_MAX = 64;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `isRequired`: each event has a value. */
type SummaryDraft = Mutable<SummaryPlan> & { readonly isRequired: boolean };

/** Where a part of a value is (see `Reader`): known once the plan is complete. */
export type Place = () => number;

/** Collects what features take from the events of one stream; what is taken twice is listed once. */
export class StreamBuilder {
  readonly #name: string;
  readonly #stream: StreamDefinition;
  readonly #label: LabelDefinition | null;
  readonly #looked: number[] = [];
  readonly #inputs: Input[] = [];
  readonly #conditions = new Map<string, CompiledExpression>();

  constructor(name: string, stream: StreamDefinition, label: LabelDefinition | null) {
    this.#name = name;
    this.#stream = stream;
    this.#label = label;
  }

  field(name: string): FieldDefinition {
    return this.#stream.fields[name] as FieldDefinition;
  }

  /** Index of a field whose values are looked up. */
  looked(name: string): number {
    const index = Object.keys(this.#stream.fields).indexOf(name);
    if (!this.#looked.includes(index)) this.#looked.push(index);
    return index;
  }

  /** Index of what is taken from a field among an event's values. */
  input(kind: Input["kind"], name: string): number {
    const field = Object.keys(this.#stream.fields).indexOf(name);
    const known = this.#inputs.findIndex((one) => one.kind === kind && one.field === field);
    return INPUTS + (known >= 0 ? known : this.#inputs.push({ kind, field }) - 1);
  }

  /** Index of the condition that `where` holds and, if asked for, that the event is a positive label. */
  condition(where: string | undefined, positive: boolean): number {
    if (where === undefined && !positive) return ALWAYS;
    const key = JSON.stringify([where, positive]);
    if (!this.#conditions.has(key)) this.#conditions.set(key, this.#compile(where, positive));
    return CONDITIONS + [...this.#conditions.keys()].indexOf(key);
  }

  plan(): StreamPlan {
    return {
      name: this.#name,
      lateMaxMs: checkedDurationMs(this.#stream.lateMax),
      fields: Object.entries(this.#stream.fields),
      looked: this.#looked,
      inputs: this.#inputs,
      conditions: [...this.#conditions.values()],
    };
  }

  #compile(where: string | undefined, positive: boolean): CompiledExpression {
    const scope = { fields: this.#stream.fields, features: [] };
    const holds = where === undefined ? null : compileExpression(where, scope);
    if (!positive) return holds as CompiledExpression;
    const stream = this.#name;
    const isPositive = isPositiveRow({ label: this.#label, streams: { [stream]: this.#stream } });
    return (row, features) =>
      isPositive({ stream, numbers: row.numbers }) && (holds === null || holds(row, features) === 1) ? 1 : 0;
  }
}

export class TableBuilder {
  readonly index: number;
  readonly #stream: number;
  readonly #by: readonly number[];
  readonly #askedBy: readonly number[];
  readonly #levels: LevelBuilder[] = [];

  constructor(index: number, stream: number, by: readonly number[], askedBy: readonly number[]) {
    this.index = index;
    this.#stream = stream;
    this.#by = by;
    this.#askedBy = askedBy;
  }

  /** The level for panes of a length; `windows` are all that features ask of it. */
  level(paneMs: number, windows: readonly number[]): LevelBuilder {
    const open = this.#levels.find(
      (level) =>
        level.paneMs === paneMs && level.windows.join() === windows.join() && level.stride < STRIDE_MAX,
    );
    if (open !== undefined) return open;
    const level = new LevelBuilder(paneMs, windows);
    this.#levels.push(level);
    return level;
  }

  plan(): TablePlan {
    // A record begins with the newest event time (a double) and the codes of the key.
    let ints = 2 + this.#by.length;
    for (const level of this.#levels) {
      level.intsAt = ints;
      ints += STORE_INTS + 1 + level.windows.length;
    }
    let units = Math.ceil(ints / 2);
    let answers = 0;
    for (const level of this.#levels) {
      level.windowsAt = units;
      units += level.recordUnits;
      level.answersAt = answers;
      answers += level.answers;
    }
    const levels = this.#levels.map((level) => level.plan());
    return {
      stream: this.#stream,
      by: this.#by,
      askedBy: this.#askedBy,
      levels,
      conditions: needed(levels.map(({ conditions }) => conditions ?? [ALWAYS])),
      recordUnits: units,
      answers,
    };
  }
}

/** Collects what is counted in the panes of one level, and gives out the slots. */
export class LevelBuilder {
  readonly paneMs: number;
  readonly windows: readonly number[];
  readonly #summaries: SummaryDraft[] = [];
  readonly #accumulators: Mutable<AccumulatorPlan>[] = [];
  readonly #decays: DecayPlan[] = [];
  readonly #distincts: Mutable<DistinctPlan>[] = [];
  readonly #sketches: (SketchPlan & { readonly asks: SketchAsk[] })[] = [];
  #floats = 0;
  /** The first integer is the pane's number. */
  #ints = 1;
  #answers = 0;
  /** Where its parts of a record, and of the table's answers, begin: set when all levels are complete. */
  intsAt = 0;
  windowsAt = 0;
  answersAt = 0;

  constructor(paneMs: number, windows: readonly number[]) {
    this.paneMs = paneMs;
    this.windows = windows;
  }

  get stride(): number {
    return this.#floatsAt + this.#floats;
  }

  /** Units of its windows and rates in a record. */
  get recordUnits(): number {
    return this.windows.length * this.stride + this.#decays.length * RATE_FLOATS;
  }

  get answers(): number {
    return this.#answers;
  }

  /**
   * Where a part of a summary is, for the window `window`. Of a required field, and of no field (`ONE`), as many values
   * are counted as there are events: these are one summary.
   */
  summary(part: SummaryPart, { input, condition }: Taken, isRequired: boolean, window: number): Place {
    const found =
      this.#summaries.find(
        (one) =>
          one.condition === condition &&
          (one.input === input || (one.isRequired && isRequired && (one.input === ONE || input === ONE))),
      ) ?? this.#addSummary(input, condition, isRequired);
    if (found.input === ONE) found.input = input;
    if (found[part] < 0) {
      if (part === "count") found.count = this.#ints++;
      else {
        found[part] = this.#floats;
        this.#floats += part === "squares" ? 2 : 1;
      }
    }
    found.windows = Math.max(found.windows, window + 1);
    const slot = found[part];
    return part === "count"
      ? () => this.#windowAt(window) * 2 + slot
      : () => this.#windowAt(window) + this.#floatsAt + slot;
  }

  /** Where the first slot of an algebra's answer for the window `window` is. */
  accumulator(algebra: PaneAlgebra, input: number, condition: number, window: number): Place {
    let found = this.#accumulators.find(
      (one) => one.algebra === algebra && one.input === input && one.condition === condition,
    );
    if (found === undefined) {
      found = { algebra, input, condition, floats: this.#floats, windows: 0, answer: this.#answers };
      this.#floats += algebra.slots;
      this.#answers += algebra.slots * this.windows.length;
      this.#accumulators.push(found);
    }
    found.windows = Math.max(found.windows, window + 1);
    const answer = found.answer + window * algebra.slots;
    return () => this.answersAt + answer;
  }

  /** Where the integer of a window is that counts different values. */
  distinct(field: number, condition: number, window: number): Place {
    let found = this.#distincts.find((one) => one.field === field && one.condition === condition);
    if (found === undefined) {
      found = { field, condition, ints: this.#ints, windows: 0 };
      this.#ints += 1 + this.windows.length;
      this.#distincts.push(found);
    }
    found.windows = Math.max(found.windows, window + 1);
    const { ints } = found;
    return () => this.#windowAt(window) * 2 + ints;
  }

  /** Where the answer is. */
  decay(halfLifeMs: number, input: number, condition: number): Place {
    const answer = this.#answers++;
    this.#decays.push({ halfLifeMs, input, condition, floats: this.#floats++, answer });
    return () => this.answersAt + answer;
  }

  /** Where the first of `values` answers is. */
  sketch(
    kind: SketchPlan["kind"],
    { input, condition }: Taken,
    window: number,
    parameter: number,
    values: number,
  ): Place {
    let found = this.#sketches.find(
      (one) => one.kind === kind && one.input === input && one.condition === condition,
    );
    if (found === undefined) {
      found = { kind, input, condition, ints: this.#ints++, asks: [] };
      this.#sketches.push(found);
    }
    const answer = this.#answers;
    this.#answers += values;
    found.asks.push({ window, parameter, answer });
    found.asks.sort((a, b) => a.window - b.window);
    return () => this.answersAt + answer;
  }

  plan(): LevelPlan {
    const all = [
      ...this.#summaries,
      ...this.#accumulators,
      ...this.#decays,
      ...this.#distincts,
      ...this.#sketches,
    ];
    const behind = (slot: number): number => (slot < 0 ? slot : this.#floatsAt + slot);
    const answered = <T extends { readonly answer: number }>(one: T): T => ({
      ...one,
      answer: this.answersAt + one.answer,
    });
    return {
      paneMs: this.paneMs,
      windows: this.windows,
      stride: this.stride,
      floatsAt: this.#floatsAt,
      intsAt: this.intsAt,
      windowsAt: this.windowsAt,
      ratesAt: this.#windowAt(this.windows.length),
      summaries: this.#summaries.map(({ isRequired: _, ...one }) => ({
        ...one,
        sum: behind(one.sum),
        squares: behind(one.squares),
        min: behind(one.min),
        max: behind(one.max),
      })),
      accumulators: this.#accumulators.map((one) => answered({ ...one, floats: behind(one.floats) })),
      decays: this.#decays.map((one) => answered({ ...one, floats: behind(one.floats) })),
      distincts: this.#distincts,
      sketches: this.#sketches.map((one) => ({ ...one, asks: one.asks.map(answered) })),
      conditions: needed(all.map(({ condition }) => [condition])),
    };
  }

  /** Doubles lie behind the integers. */
  get #floatsAt(): number {
    return Math.ceil(this.#ints / 2);
  }

  #windowAt(window: number): number {
    return this.windowsAt + window * this.stride;
  }

  #addSummary(input: number, condition: number, isRequired: boolean): SummaryDraft {
    const none = { count: -1, sum: -1, squares: -1, min: -1, max: -1, windows: 0 };
    const made = { input, condition, isRequired, ...none };
    this.#summaries.push(made);
    return made;
  }
}

/** Conditions of which one must hold; null where something counts without any. */
function needed(conditions: readonly (readonly number[])[]): readonly number[] | null {
  const all = new Set(conditions.flat());
  return all.has(ALWAYS) ? null : [...all];
}
