import type { IdBytes } from "@millrace/contracts";
import { type EventRow, Watermark, type WatermarkSnapshot } from "@millrace/events";
import {
  compileFeatures,
  FeatureEngine,
  type FeaturePlan,
  type FeatureSnapshot,
  isPositiveRow,
} from "@millrace/features";
import { type ExampleRow, LabelJoin, type LabelJoinSnapshot } from "@millrace/labels";
import type { LabelDefinition, LineDefinition, StreamDefinition } from "@millrace/lines";
import { type IdReader, idReader } from "./row-id.ts";

/** What a computation gives, in the order in which it gives it. */
export interface ComputationSink {
  /** A vector; `id` and `values` (NaN: unknown) are used again after the call. */
  vector(id: IdBytes, timeMs: number, values: Float64Array): void;
  /** The row is used again after the call. */
  example(example: ExampleRow): void;
}

/** Structured-cloneable; live arrays: to be serialised or copied before the next event is taken. */
export interface ComputationSnapshot {
  readonly engine: FeatureSnapshot;
  readonly join: LabelJoinSnapshot | null;
  readonly streamTime: WatermarkSnapshot;
  readonly newestTimeMs: number;
  readonly newestAcceptedAtMs: number;
  readonly vectors: number;
  readonly examples: number;
}

/** The label's side: how its events are matched, and the join. */
interface Joined {
  readonly label: LabelDefinition;
  readonly matchOf: IdReader;
  readonly isPositive: (row: EventRow) => boolean;
  readonly join: LabelJoin;
}

const NOWHERE: ComputationSink = { vector: () => {}, example: () => {} };

/** One partition's computation: see the package's invariants. */
export class Computation {
  readonly engine: FeatureEngine;
  readonly plan: FeaturePlan;
  readonly #predictOn: string;
  readonly #idOf: IdReader;
  readonly #joined: Joined | null;
  readonly #values: Float64Array;
  readonly #streamTime: Watermark;
  /** Where what the present event gives goes. */
  #sink: ComputationSink = NOWHERE;
  readonly #give = (example: ExampleRow | null): void => {
    if (example === null) return;
    this.#examples++;
    this.#sink.example(example);
  };
  #newestTimeMs: number;
  #newestAcceptedAtMs: number;
  #vectors: number;
  #examples: number;

  /** `features` is the digest of the line's feature definition; the snapshot must be of the same one. */
  constructor(line: LineDefinition, features: string, snapshot: ComputationSnapshot | null) {
    const { label, predict, streams } = line;
    const predicted = streams[predict.on] as StreamDefinition;
    this.plan = compileFeatures(line);
    this.engine = new FeatureEngine(this.plan, snapshot?.engine ?? null);
    this.#predictOn = predict.on;
    this.#idOf = idReader(predicted, predicted.id);
    this.#values = new Float64Array(this.plan.names.length);
    this.#joined =
      label === null
        ? null
        : {
            label,
            matchOf: idReader(streams[label.from] as StreamDefinition, label.match),
            isPositive: isPositiveRow(line),
            join: new LabelJoin(
              {
                label,
                lateMax: (streams[label.from] as StreamDefinition).lateMax,
                features,
                width: this.plan.names.length,
              },
              snapshot?.join ?? null,
            ),
          };
    this.#streamTime = new Watermark(0, snapshot?.streamTime);
    this.#newestTimeMs = snapshot?.newestTimeMs ?? 0;
    this.#newestAcceptedAtMs = snapshot?.newestAcceptedAtMs ?? 0;
    this.#vectors = snapshot?.vectors ?? 0;
    this.#examples = snapshot?.examples ?? 0;
  }

  /** Newest event time taken, of all streams, ms; 0 before the first event. */
  get newestTimeMs(): number {
    return this.#newestTimeMs;
  }

  /** When the event of `newestTimeMs` was accepted, wall-clock ms. */
  get newestAcceptedAtMs(): number {
    return this.#newestAcceptedAtMs;
  }

  /** For the status; exact through restarts. */
  counts(): Readonly<Record<string, number>> {
    const join = this.#joined?.join;
    const labels = Object.entries(join?.counts ?? {}).map(([name, count]) => [`labels.${name}`, count]);
    return {
      features: this.#vectors,
      examples: this.#examples,
      "events.forgotten": this.engine.forgotten,
      ...Object.fromEntries(labels),
      ...(join === undefined ? {} : { "labels.awaited": join.waiting }),
    };
  }

  /** Takes the next event of the log. */
  take(row: EventRow, sink: ComputationSink): void {
    this.#streamTime.observe(row.time);
    if (row.time > this.#newestTimeMs) {
      this.#newestTimeMs = row.time;
      this.#newestAcceptedAtMs = row.acceptedAtMs;
    }
    const joined = this.#joined;
    this.#sink = sink;
    joined?.join.advance(this.#streamTime.ms, row.acceptedAtMs, this.#give);
    if (row.stream === this.#predictOn) {
      const values = this.#values;
      this.engine.readAndUpdate(row, values);
      const id = this.#idOf(row);
      this.#vectors++;
      sink.vector(id, row.time, values);
      this.#give(joined?.join.addVector(id, row, values) ?? null);
    } else this.engine.update(row);
    if (joined !== null && row.stream === joined.label.from) {
      this.#give(joined.join.addLabel(joined.matchOf(row), row, joined.isPositive(row)));
    }
  }

  snapshot(): ComputationSnapshot {
    return {
      engine: this.engine.snapshot(),
      join: this.#joined?.join.snapshot() ?? null,
      streamTime: this.#streamTime.snapshot(),
      newestTimeMs: this.#newestTimeMs,
      newestAcceptedAtMs: this.#newestAcceptedAtMs,
      vectors: this.#vectors,
      examples: this.#examples,
    };
  }
}
