import type { ReasonCode } from "@millrace/events";
import { meter } from "@millrace/runtime";

/** Counters of this process, for Prometheus. The exact counts are in the checkpoints and in the status. */
export interface IngestMetrics {
  /** One record read of a stream: accepted (null) or rejected for a reason. */
  count(line: string, stream: string, reason: ReasonCode | null): void;
}

/**
 * `millrace_ingest_events_total{line,stream,outcome}` and `millrace_ingest_rejected_total{line,reason}`. Counted up
 * here and read when scraped: a counter call per record would cost more than the record itself.
 */
export function createIngestMetrics(): IngestMetrics {
  const events = new Map<string, { attributes: Record<string, string>; count: number }>();
  const rejected = new Map<string, { attributes: Record<string, string>; count: number }>();
  const observe = (name: string, description: string, counts: typeof events): void =>
    meter()
      .createObservableCounter(name, { description })
      .addCallback((result) => {
        for (const { attributes, count } of counts.values()) result.observe(count, attributes);
      });
  observe("millrace_ingest_events_total", "Records read, by outcome", events);
  observe("millrace_ingest_rejected_total", "Records rejected, by reason", rejected);

  const add = (counts: typeof events, key: string, attributes: () => Record<string, string>): void => {
    const entry = counts.get(key) ?? { attributes: attributes(), count: 0 };
    entry.count++;
    counts.set(key, entry);
  };
  return {
    count: (line, stream, reason) => {
      const outcome = reason === null ? "accepted" : "rejected";
      add(events, `${line}/${stream}/${outcome}`, () => ({ line, stream, outcome }));
      if (reason !== null) add(rejected, `${line}/${reason}`, () => ({ line, reason }));
    },
  };
}
