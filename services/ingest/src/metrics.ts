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
  const accepted = new Counts(["line", "stream"]);
  const refused = new Counts(["line", "stream"]);
  const rejected = new Counts(["line", "reason"]);
  const observe = (name: string, description: string, counts: () => Iterable<Count>): void =>
    meter()
      .createObservableCounter(name, { description })
      .addCallback((result) => {
        for (const { attributes, count } of counts()) result.observe(count, attributes);
      });
  observe("millrace_ingest_events_total", "Records read, by outcome", () => [
    ...accepted.all({ outcome: "accepted" }),
    ...refused.all({ outcome: "rejected" }),
  ]);
  observe("millrace_ingest_rejected_total", "Records rejected, by reason", () => rejected.all({}));
  return {
    count: (line, stream, reason) => {
      if (reason === null) return accepted.add(line, stream);
      refused.add(line, stream);
      rejected.add(line, reason);
    },
  };
}

interface Count {
  readonly attributes: Readonly<Record<string, string>>;
  readonly count: number;
}

/** Counts by two attributes, without making a text for each. */
class Counts {
  readonly #names: readonly [string, string];
  readonly #counts = new Map<string, Map<string, number>>();

  constructor(names: readonly [string, string]) {
    this.#names = names;
  }

  add(first: string, second: string): void {
    let counts = this.#counts.get(first);
    if (counts === undefined) {
      counts = new Map();
      this.#counts.set(first, counts);
    }
    counts.set(second, (counts.get(second) ?? 0) + 1);
  }

  /** Each count with its attributes and those given. */
  all(more: Readonly<Record<string, string>>): Count[] {
    const [outer, inner] = this.#names;
    return [...this.#counts].flatMap(([first, counts]) =>
      [...counts].map(([second, count]) => ({
        attributes: { [outer]: first, [inner]: second, ...more },
        count,
      })),
    );
  }
}
