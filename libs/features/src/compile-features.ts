import {
  checkedDurationMs,
  compileExpression,
  type FeatureDefinition,
  type FieldDefinition,
  featureNames,
  type LineDefinition,
  ratePaneMs,
  type StreamDefinition,
  windowPaneMs,
} from "@millrace/lines";
import { FIRST, LAST } from "./algebra/ends.ts";
import { INEXACT_SUM } from "./algebra/inexact-sum.ts";
import { MOMENTS } from "./algebra/moments.ts";
import { NEWEST } from "./algebra/newest.ts";
import type { PaneAlgebra } from "./algebra/pane-algebra.ts";
import { ONE } from "./event-values.ts";
import type { FeaturePlan, Input, Reader, ReaderKind, SummaryPart } from "./feature-plan.ts";
import { unitOf } from "./is-positive.ts";
import { type Place, StreamBuilder, TableBuilder } from "./plan-builder.ts";

type Feature = LineDefinition["features"][number];
type Of<K extends FeatureDefinition["kind"]> = { readonly name: string } & Extract<
  FeatureDefinition,
  { readonly kind: K }
>;
type WindowFeature = Of<"window">;

/** A reader whose places are not known yet. */
type ReaderDraft = Omit<Reader, "a" | "b" | "c"> & { readonly places: readonly Place[] };
/** Places that values need when they are written; Infinity: as many as they are kept to. */
type Decimals = number;

/** Plans the features of a line that `checkLine` has passed. */
export function compileFeatures(line: LineDefinition): FeaturePlan {
  const compiler = new Compiler(line);
  const drafts = line.features.flatMap((feature, i) => compiler.readersOf(feature, i));
  const tables = [...compiler.tables.values()].map((table) => table.plan());
  const streams = compiler.streams.map((stream) => stream.plan());
  return {
    streams,
    predict: compiler.predict,
    tables,
    // Now that the tables are laid out, the places are known.
    readers: drafts.map(({ places: [a = NOWHERE, b = NOWHERE, c = NOWHERE], ...reader }) => ({
      ...reader,
      a: a(),
      b: b(),
      c: c(),
    })),
    names: featureNames(line),
    decimals: line.features.flatMap((feature) =>
      featureNames({ features: [feature] }).map(() => feature.decimals ?? line.vectors.decimals),
    ),
    layout: JSON.stringify([...stateOf(line), tables]),
  };
}

const NOWHERE: Place = () => -1;

/** What of a line decides what its state holds: not how values are named, rounded, or computed from others. */
function stateOf({ streams, label, features }: LineDefinition): unknown[] {
  const read = Object.entries(streams).map(([name, { fields, lateMax }]) => [name, fields, lateMax]);
  const counted = features.flatMap(({ name: _, decimals: __, ...feature }) =>
    feature.kind === "window" || feature.kind === "rate" ? [feature] : [],
  );
  return [read, label === null ? null : [label.from, label.positive], counted];
}

class Compiler {
  readonly #line: LineDefinition;
  readonly streams: readonly StreamBuilder[];
  readonly predict: number;
  readonly tables = new Map<string, TableBuilder>();

  constructor(line: LineDefinition) {
    this.#line = line;
    this.streams = Object.entries(line.streams).map(
      ([name, stream]) => new StreamBuilder(name, stream, line.label),
    );
    this.predict = this.#streamIndex(line.predict.on);
  }

  /** One reader per value of the feature, which is the i-th of the line. */
  readersOf(feature: Feature, i: number): ReaderDraft[] {
    switch (feature.kind) {
      case "field": {
        const field = this.#stream(this.predict).field(feature.field);
        const input = this.#input(field.type === "category" ? "category" : "number", feature.field);
        return [this.#reader(feature, "value", [() => input], { unit: unitOf(field) }, decimalsOf(field))];
      }
      case "hour":
      case "weekday": {
        const input = this.#input("number", feature.of);
        return [this.#reader(feature, feature.kind, [() => input], {}, 0)];
      }
      case "expression": {
        const { fields } = this.#line.streams[this.#line.predict.on] as StreamDefinition;
        const features = featureNames({ features: this.#line.features.slice(0, i) });
        const compute = compileExpression(feature.value, { fields, features });
        return [this.#reader(feature, "expression", [], { compute })];
      }
      case "rate":
        return [this.#rate(feature)];
      case "window":
        return this.#window(feature);
    }
  }

  #rate(feature: Of<"rate">): ReaderDraft {
    const stream = this.#stream(this.#streamIndex(feature.from));
    const table = this.#table(feature);
    const total = table
      .level(ratePaneMs(feature), [])
      .decay(
        checkedDurationMs(feature.halfLife),
        feature.of === undefined ? ONE : stream.input("number", feature.of),
        stream.condition(feature.where, false),
      );
    const unit = feature.of === undefined ? 1 : unitOf(stream.field(feature.of));
    return this.#reader(feature, "answer", [total], { table: table.index, unit });
  }

  #window(feature: WindowFeature): ReaderDraft[] {
    const stream = this.#stream(this.#streamIndex(feature.from));
    const table = this.#table(feature);
    const paneMs = windowPaneMs(feature);
    const level = table.level(paneMs, this.#windowsBeside(feature));
    const window = level.windows.indexOf(checkedDurationMs(feature.window) / paneMs);
    const condition = stream.condition(feature.where, false);
    const field = "of" in feature ? stream.field(feature.of) : null;
    // How many different values there are is a number of its own, whatever the values' unit.
    const unit = field === null || feature.aggregate === "distinct-approx" ? 1 : unitOf(field);
    const number = (): number => stream.input("number", (feature as { of: string }).of);
    const code = (): number => stream.input("category", (feature as { of: string }).of);
    const scanned = (algebra: PaneAlgebra, input: number): Place =>
      level.accumulator(algebra, input, condition, window);
    const part = (name: SummaryPart, input: number, isRequired: boolean, of = condition): Place =>
      level.summary(name, { input, condition: of }, isRequired, window);
    const ofField = (name: SummaryPart): Place => part(name, number(), field?.optional !== true);
    const events = (of = condition): Place => part("count", ONE, true, of);
    const isWhole = field?.type !== "number";
    const read = (kind: ReaderKind, places: readonly Place[], decimals?: Decimals): ReaderDraft[] => [
      this.#reader(feature, kind, places, { table: table.index, unit }, decimals),
    ];

    switch (feature.aggregate) {
      case "count":
        return read("count", [events()], 0);
      case "share":
        return read("share", [events(stream.condition(feature.where, true)), events()]);
      case "sum":
        return isWhole
          ? read("total", [ofField("sum")], decimalsOf(field))
          : read("answer", [scanned(INEXACT_SUM, number())]);
      case "mean":
        return isWhole
          ? read("mean", [ofField("sum"), ofField("count")])
          : read("answer-mean", [scanned(INEXACT_SUM, number()), ofField("count")]);
      case "stddev":
        return isWhole
          ? read("exact-deviation", [ofField("count"), ofField("sum"), ofField("squares")])
          : read("deviation", [scanned(MOMENTS, number())]);
      case "min":
        return read("total", [ofField("min")], decimalsOf(field));
      case "max":
        return read("total", [ofField("max")], decimalsOf(field));
      case "first":
      case "last": {
        const end = scanned(
          feature.aggregate === "first" ? FIRST : LAST,
          field?.type === "category" ? code() : number(),
        );
        // The first slot is the time, the second one the value.
        return read("answer", [() => end() + 1], decimalsOf(field));
      }
      case "since":
        return read("since", [scanned(NEWEST, ONE)], 3);
      case "distinct":
        return read("count", [level.distinct(stream.looked(feature.of), condition, window)], 0);
      case "distinct-approx": {
        const taken = { input: stream.input("register", feature.of), condition };
        return read("answer", [level.sketch(feature.aggregate, taken, window, 0, 1)]);
      }
      case "quantile":
        return read("answer", [
          level.sketch("quantile", { input: number(), condition }, window, feature.q, 1),
        ]);
      case "top": {
        const { k } = feature;
        const first = level.sketch("top", { input: code(), condition }, window, k, k);
        return Array.from({ length: k }, (_, rank) => read("answer", [() => first() + rank], 0)).flat();
      }
    }
  }

  #reader(
    { decimals = this.#line.vectors.decimals }: Feature,
    kind: ReaderKind,
    places: readonly Place[],
    rest: Partial<Omit<ReaderDraft, "kind" | "places">>,
    needed: Decimals = Number.POSITIVE_INFINITY,
  ): ReaderDraft {
    const scale = decimals === "full" || needed <= decimals ? 0 : 10 ** decimals;
    return { kind, places, table: -1, unit: 1, compute: null, scale, ...rest };
  }

  /** The windows, in panes, of all features on the same level, shortest first. */
  #windowsBeside(feature: WindowFeature): number[] {
    const paneMs = windowPaneMs(feature);
    const beside = this.#line.features.filter(
      (other): other is WindowFeature =>
        other.kind === "window" && tableName(other) === tableName(feature) && windowPaneMs(other) === paneMs,
    );
    const panes = beside.map((other) => checkedDurationMs(other.window) / paneMs);
    return [...new Set(panes)].sort((a, b) => a - b);
  }

  #table(feature: WindowFeature | Of<"rate">): TableBuilder {
    const name = tableName(feature);
    const known = this.tables.get(name);
    if (known !== undefined) return known;
    const stream = this.#streamIndex(feature.from);
    const by = [...feature.by].sort();
    const table = new TableBuilder(
      this.tables.size,
      stream,
      by.map((field) => this.#stream(stream).looked(field)),
      by.map((field) => this.#stream(this.predict).looked(field)),
    );
    this.tables.set(name, table);
    return table;
  }

  #input(kind: Input["kind"], field: string): number {
    return this.#stream(this.predict).input(kind, field);
  }

  #stream(index: number): StreamBuilder {
    return this.streams[index] as StreamBuilder;
  }

  #streamIndex(name: string): number {
    return Object.keys(this.#line.streams).indexOf(name);
  }
}

/** Features with the same name share a table: the order of `by` does not matter. */
function tableName({ from, by }: { readonly from: string; readonly by: readonly string[] }): string {
  return JSON.stringify([from, ...[...by].sort()]);
}

/** Decimal places of a field's values; Infinity: any number of them. */
function decimalsOf(field: FieldDefinition | null): Decimals {
  if (field === null || field.type === "number") return Number.POSITIVE_INFINITY;
  return field.type === "decimal" ? field.scale : 0;
}
