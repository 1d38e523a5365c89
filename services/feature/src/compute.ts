import type { AcceptedEvent, Example, FeatureVector } from "@millrace/contracts";
import { lineTopic } from "@millrace/contracts";
import { FeatureEngine, type FeatureSnapshot, isPositive } from "@millrace/features";
import { LabelJoin, type LabelJoinSnapshot } from "@millrace/labels";
import type { LineDefinition } from "@millrace/lines";
import type { Emit, StreamRecord, Task } from "@millrace/stream";
import { textOf } from "./record.ts";

interface ComputeSnapshot {
  /** Digest of the feature definition that the state belongs to. */
  readonly featureDigest: string;
  readonly engine: FeatureSnapshot;
  readonly join: LabelJoinSnapshot;
  /** Newest event time of all streams, ms. */
  readonly streamTimeMs: number;
  readonly counts: ComputeCounts;
}

/** What has waited too long is forgotten once a minute of event time. */
const EXPIRY_MS = 60_000;

interface ComputeCounts {
  features: number;
  examples: number;
}

export interface ComputeTask extends Task {
  readonly engine: FeatureEngine;
  /** Counts for the status, exact through restarts. */
  counts(): Readonly<Record<string, number>>;
  readonly streamTimeMs: number;
}

/**
 * Steps 3 and 5: accepted events of one partition, in one order, to feature vectors and, once an event's label has
 * come, to examples. One step does both, so that a vector and its example are decided by the same order of events.
 */
export function createComputeTask(
  line: LineDefinition,
  featureDigest: string,
  snapshot: unknown,
): ComputeTask {
  const saved = snapshot as ComputeSnapshot | null;
  // A new feature definition starts with empty windows: what it needs was not kept by the old one.
  const usable = saved?.featureDigest === featureDigest ? saved : null;
  const engine = new FeatureEngine(line, usable?.engine ?? null);
  const join = new LabelJoin(line, usable?.join ?? null);
  const counts: ComputeCounts = { ...(saved?.counts ?? { features: 0, examples: 0 }) };
  const featuresTopic = lineTopic(line.name, "features");
  const examplesTopic = lineTopic(line.name, "examples");
  let streamTimeMs = usable?.streamTimeMs ?? 0;

  const emitExample = (cause: StreamRecord, example: Example | null, emit: Emit): void => {
    if (example === null) return;
    counts.examples++;
    emit(cause, examplesTopic, { key: example.id, value: JSON.stringify(example) });
  };

  /** By the events alone: a replay in other batches, or after a restart, forgets the same at the same event. */
  const advance = (time: number): void => {
    const minute = Math.floor(time / EXPIRY_MS);
    if (minute > Math.floor(streamTimeMs / EXPIRY_MS)) join.expire(minute * EXPIRY_MS);
    streamTimeMs = Math.max(streamTimeMs, time);
  };

  const processOne = (record: StreamRecord, emit: Emit): void => {
    const event = JSON.parse(textOf(record)) as AcceptedEvent;
    advance(event.time);
    engine.observe(event);
    if (event.stream === line.predict.on) {
      const vector: FeatureVector = {
        id: event.id,
        time: event.time,
        values: engine.vector(event),
        features: featureDigest,
      };
      counts.features++;
      emit(record, featuresTopic, { key: vector.id, value: JSON.stringify(vector) });
      emitExample(record, join.addVector(vector), emit);
    }
    if (event.stream === line.label.from) {
      emitExample(record, join.addLabel(event, isPositive(line, event)), emit);
    }
  };

  return {
    engine,
    process: (records, emit) => {
      for (const record of records) processOne(record, emit);
    },
    snapshot: (): ComputeSnapshot => ({
      featureDigest,
      engine: engine.snapshot(),
      join: join.snapshot(),
      streamTimeMs,
      counts: { ...counts },
    }),
    counts: () => ({
      ...counts,
      "labels.matched": join.counts.matched,
      "labels.expired": join.counts.expired,
      "labels.unmatched": join.counts.unmatched,
      "labels.awaited": join.waiting,
    }),
    get streamTimeMs() {
      return streamTimeMs;
    },
  };
}
