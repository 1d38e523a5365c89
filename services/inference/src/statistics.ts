import type { Spent } from "@millrace/serving";

/** Upper bounds in seconds: most answers take well under a millisecond. */
export const DURATION_BUCKETS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];

/** refused: the request is wrong, or came too much; cancelled: nobody waited any more; failed: we are wrong. */
export type Outcome = "answered" | "refused" | "cancelled" | "failed";

/** How often something happened and how long it took in all. */
export interface Total {
  count: number;
  ms: number;
}

const total = (): Total => ({ count: 0, ms: 0 });

/**
 * What became of the requests to one version of a line. Plain numbers, because they change with every request: metrics
 * and the statistics extension read them when asked.
 */
export class ModelStatistics {
  readonly outcomes: Record<Outcome, Total> = {
    answered: total(),
    refused: total(),
    cancelled: total(),
    failed: total(),
  };
  /** Requests by duration; the last one counts what is above all bounds. */
  readonly durations: Float64Array = new Float64Array(DURATION_BUCKETS.length + 1);
  readonly queue: Total = total();
  readonly compute: Total = total();
  /** Runs by the power of two at or above their rows. */
  readonly batches: Map<number, Total> = new Map();
  rows = 0;
  /** Runs of the model. */
  runs = 0;
  /** Wall-clock ms of the last request; 0: none yet. */
  lastAtMs = 0;
  inFlight = 0;

  answered(ms: number, rows: number, { queueMs, computeMs, batchRows }: Spent, atMs: number): void {
    this.ended("answered", ms);
    this.lastAtMs = atMs;
    this.rows += rows;
    add(this.queue, queueMs);
    add(this.compute, computeMs);
    // A run is shared: each request counts for its part of it.
    const part = batchRows === 0 ? 1 : rows / batchRows;
    this.runs += part;
    const size = batchRows <= 1 ? 1 : 2 ** (32 - Math.clz32(batchRows - 1));
    let batch = this.batches.get(size);
    if (batch === undefined) this.batches.set(size, (batch = total()));
    batch.count += part;
    batch.ms += computeMs * part;
  }

  ended(outcome: Outcome, ms: number): void {
    add(this.outcomes[outcome], ms);
    let bucket = 0;
    while (bucket < DURATION_BUCKETS.length && ms > (DURATION_BUCKETS[bucket] as number) * 1_000) bucket++;
    this.durations[bucket] = (this.durations[bucket] as number) + 1;
  }
}

function add(to: Total, ms: number): void {
  to.count++;
  to.ms += ms;
}
