import { Computation } from "@millrace/computation";
import { newestKnown, ripeUntil } from "@millrace/datasets";
import { Watermark } from "@millrace/events";
import type { ExampleRow } from "@millrace/labels";
import { checkedDurationMs, type LearningLine } from "@millrace/lines";
import { EventColumns } from "./event-columns.ts";
import { ExampleCollector, type ExampleColumns, gatherExamples } from "./example-columns.ts";
import type { ReplayScan } from "./scan-module.ts";

export interface ExampleOptions {
  /** Event times of the examples, ms: from, and before. */
  readonly fromMs: number;
  readonly untilMs: number;
  /** Only what had been accepted by then (wall clock, ms), of event and label; null: whatever is archived. */
  readonly acceptedAtMs: number | null;
}

/** The replay of one partition for its examples. */
export interface ExampleJob {
  readonly line: LearningLine;
  /** Digest of the feature definition. */
  readonly features: string;
  /** Files with all of the partition's blocks, in the log's order, and how many events they hold. */
  readonly files: readonly string[];
  readonly rows: number;
  readonly options: ExampleOptions;
}

export interface ExamplePorts {
  readonly scan: Pick<ReplayScan, "scan">;
  /** So many events more have been replayed. */
  readonly onEvents: (events: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Replays the events of one partition in the log's order through the computation of the stream, and gives the examples
 * that stand by a time, one for each event. All of the archive is replayed: which label an event got can depend on
 * whatever came before.
 */
export async function decideExamples(
  { line, features, files, options }: ExampleJob,
  { scan, onEvents, signal }: ExamplePorts,
): Promise<ExampleColumns> {
  const { fromMs, untilMs, acceptedAtMs } = options;
  const computation = new Computation(line, features, null);
  const columns = new EventColumns(line);
  const width = computation.plan.names.length;
  const collected = new ExampleCollector(width);
  const acceptedBy = acceptedAtMs ?? Number.POSITIVE_INFINITY;
  /** How far the stream had come by then, as the join sees it. */
  const streamTime = new Watermark(0);
  const sink = {
    vector: () => {},
    example: (row: ExampleRow) => {
      if (row.time >= fromMs && row.time < untilMs && row.labelAcceptedAtMs <= acceptedBy) collected.add(row);
    },
  };
  for (const file of files) {
    let events = 0;
    for await (const batch of scan.scan([file], columns.schema)) {
      signal.throwIfAborted();
      for (let i = 0; i < batch.rows; i++) {
        const event = columns.read(batch.columns, i);
        if (event === null) continue;
        if (event.acceptedAtMs <= acceptedBy) streamTime.observe(event.time);
        computation.take(event, sink);
        events++;
      }
    }
    onEvents(events);
  }
  const { silence, waitFor } = line.label;
  const ripeMs = ripeUntil({ silence, waitMs: checkedDurationMs(waitFor) }, streamTime.ms);
  const all = collected.columns();
  const standing = newestKnown(all, { knownAtMs: Number.POSITIVE_INFINITY, acceptedAtMs }).filter(
    (row) => (all.times[row] as number) < ripeMs,
  );
  return gatherExamples(
    [all],
    standing.map((row) => [0, row]),
    width,
  );
}
