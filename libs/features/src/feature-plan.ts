import type { CompiledExpression, FieldDefinition } from "@millrace/lines";
import type { PaneAlgebra } from "./algebra/pane-algebra.ts";

/** How a line's features are computed. Made once per line by `compileFeatures`; any number of engines share it. */
export interface FeaturePlan {
  readonly streams: readonly StreamPlan[];
  /** Index of the stream predicted on. */
  readonly predict: number;
  readonly tables: readonly TablePlan[];
  /** One per value of the vector, in model order. */
  readonly readers: readonly Reader[];
  /** Names of the values in model order, and the decimal places that each is kept to. */
  readonly names: readonly string[];
  readonly decimals: readonly (number | "full")[];
  /** Changes whenever the state means something else or is laid out differently: a snapshot fits the same layout. */
  readonly layout: string;
}

/** What is taken from an event of a stream, once per event, for all features together. */
export interface StreamPlan {
  readonly name: string;
  readonly lateMaxMs: number;
  readonly fields: readonly (readonly [name: string, field: FieldDefinition])[];
  /** Fields whose values are looked up among the known ones: those that group, and those that are told apart. */
  readonly looked: readonly number[];
  readonly inputs: readonly Input[];
  /** What events must meet to be counted: their `where`, and whether they are positive labels. */
  readonly conditions: readonly CompiledExpression[];
}

/** A number taken from an event: a field's value, a category's code, or a value's register in a HyperLogLog. */
export interface Input {
  readonly kind: "number" | "category" | "register";
  readonly field: number;
}

/**
 * The events of one stream by the values of some fields. Each key has a record: the newest event time of the key, the
 * codes of its values, the integers of the levels, then their windows and rates.
 */
export interface TablePlan {
  readonly stream: number;
  /** Fields of the stream, and the fields of the stream predicted on with the same names. */
  readonly by: readonly number[];
  readonly askedBy: readonly number[];
  readonly levels: readonly LevelPlan[];
  /** Conditions of which an event must meet one to count at all; null: every event counts. */
  readonly conditions: readonly number[] | null;
  /** Units of 8 bytes of a record. */
  readonly recordUnits: number;
  /** How many answers there are besides the windows' totals. */
  readonly answers: number;
}

/** Panes of one length in a table, and what is counted in them. */
export interface LevelPlan {
  readonly paneMs: number;
  /** Windows in panes, shortest first; empty where there are only rates. */
  readonly windows: readonly number[];
  /** Units of a pane, and of a window: an integer (a pane's number), and the slots of what is counted. */
  readonly stride: number;
  /** Where its doubles begin, behind its integers, in units. */
  readonly floatsAt: number;
  /** Where its parts of a record begin: integers, in integers; windows and rates, in units. */
  readonly intsAt: number;
  readonly windowsAt: number;
  readonly ratesAt: number;
  readonly summaries: readonly SummaryPlan[];
  readonly accumulators: readonly AccumulatorPlan[];
  readonly decays: readonly DecayPlan[];
  readonly distincts: readonly DistinctPlan[];
  readonly sketches: readonly SketchPlan[];
  readonly conditions: readonly number[] | null;
}

/** What is taken of which events: an input, or `ONE`, of those that meet a condition, or `ALWAYS`. */
export interface Taken {
  readonly input: number;
  readonly condition: number;
}

/**
 * What is counted of one field in one go; see `algebra/summary.ts`. Each part is where its slot is in a pane or window,
 * the count in integers, the others in units; -1 where it is not asked for.
 */
export interface SummaryPlan extends Taken {
  readonly count: number;
  readonly sum: number;
  /** Two slots. */
  readonly squares: number;
  readonly min: number;
  readonly max: number;
  /** It is asked for the first so many windows of the level. */
  readonly windows: number;
}
export type SummaryPart = "count" | "sum" | "squares" | "min" | "max";

/** A value with slots in each pane, which are combined for each answer. */
export interface AccumulatorPlan extends Taken {
  readonly algebra: PaneAlgebra;
  /** Where its slots begin in a pane, in units. */
  readonly floats: number;
  /** It is asked for the first so many windows of the level. */
  readonly windows: number;
  /** Where the slots of the first window begin among the table's answers; those of the next follow. */
  readonly answer: number;
}

/** A rate: what comes, with a slot in each pane. */
export interface DecayPlan extends Taken {
  readonly halfLifeMs: number;
  readonly floats: number;
  readonly answer: number;
}

/** Different values of a field: an integer slot that counts pairs, in panes and windows, and one for each window. */
export interface DistinctPlan {
  readonly field: number;
  readonly condition: number;
  readonly ints: number;
  /** It is asked for the first so many windows of the level. */
  readonly windows: number;
}

/** A value with a sketch per pane. */
export interface SketchPlan extends Taken {
  readonly kind: "quantile" | "top" | "distinct-approx";
  /** Integer slot of the sketch's address. */
  readonly ints: number;
  /** By window, shortest first. */
  readonly asks: readonly SketchAsk[];
}

export interface SketchAsk {
  readonly window: number;
  /** The quantile, or how many of the most frequent. */
  readonly parameter: number;
  /** Where the answer goes, or the first of several. */
  readonly answer: number;
}

/**
 * How one value of the vector is had. `a`, `b` and `c` are where its parts are: in the windows of a record (doubles in
 * units, integers in integers from its beginning), or among the table's answers.
 */
export interface Reader {
  readonly kind: ReaderKind;
  /** Index of the table that it is of; -1: it is of the event itself. */
  readonly table: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** How many units of the value are 1: decimals are counted in minor units. */
  readonly unit: number;
  readonly compute: CompiledExpression | null;
  /** 10^places where the value must be rounded; 0 where it needs no rounding. */
  readonly scale: number;
}

export type ReaderKind =
  /** Integer a of a window. */
  | "count"
  /** Double a of a window. */
  | "total"
  /** Double a by integer b of a window. */
  | "mean"
  /** Integer a by integer b of a window. */
  | "share"
  /** Of integer a values, their sum b, and the sum of their squares c (low and high) of a window. */
  | "exact-deviation"
  /** Answer a. */
  | "answer"
  /** Answer a by integer b of a window. */
  | "answer-mean"
  /** Of the moments that begin with answer a. */
  | "deviation"
  /** Since the time that is answer a. */
  | "since"
  /** Value a of the event. */
  | "value"
  | "hour"
  | "weekday"
  | "expression";
