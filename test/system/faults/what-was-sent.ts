import { HEADERS } from "@millrace/contracts";
import type { ReasonCode } from "@millrace/events";
import { BAD_KINDS, badEvent } from "@millrace/line-flights/bad-events";
import { FIRST_MS, flightEvents, type Query } from "@millrace/line-flights/stream";
import type { StreamRecord } from "@millrace/stream";

/** The values of the right records by topic, in the order in which the player sends them. */
export type RightValues = Readonly<Record<string, readonly string[]>>;

/** What ingest must do with one record of a producers' topic. */
export interface Sent {
  readonly record: StreamRecord;
  /** null: accept it. */
  readonly reason: ReasonCode | null;
  /** The kind of a malformed record; null: a right one, perhaps sent again. */
  readonly bad: { readonly number: number; readonly kind: string } | null;
}

/** The first `count` events of the data set as the player sends them. */
export async function rightValues(query: Query, file: string, count: number): Promise<RightValues> {
  const values = { "flights.departures": [] as string[], "flights.arrivals": [] as string[] };
  let left = count;
  const from = { timeMs: FIRST_MS, eventsAtTime: 0 };
  const options = { startMs: FIRST_MS, from, untilMs: Number.POSITIVE_INFINITY, shock: null };
  for await (const events of flightEvents(query, file, options)) {
    for (const { kind, value } of events.slice(0, left))
      values[`flights.${kind}s`].push(JSON.stringify(value));
    left -= Math.min(left, events.length);
    if (left === 0) break;
  }
  return values;
}

/**
 * Says of each record of a topic, in order, what ingest must do with it, from what was to be sent alone. Throws at
 * a record that nobody was to send.
 */
export function explain(records: readonly StreamRecord[], right: readonly string[]): Sent[] {
  const known = new Set<string>();
  const ids = new Set<unknown>();
  const bad = new BadSequence();
  let next = 0;
  let newest = "";
  return records.map((record) => {
    const text = Buffer.from(record.value ?? []).toString();
    if (record.headers[HEADERS.replayOf] !== undefined) {
      const { flight } = JSON.parse(text) as { flight: string };
      const reason = ids.has(flight) ? ("duplicate-id" as const) : null;
      ids.add(flight);
      return { record, reason, bad: null };
    }
    if (text === right[next]) {
      next++;
      newest = text;
      known.add(text);
      ids.add(JSON.parse(text).flight);
      return { record, reason: null, bad: null };
    }
    // Sent again after a crash, by the player or its Kafka client; or the malformed kind that does just this.
    if (known.has(text)) {
      newest = text;
      return { record, reason: "duplicate-id" as const, bad: null };
    }
    return { record, ...bad.recognise(record, newest) };
  });
}

const REPEATS = "duplicate id";

/** The malformed records, which come in the order of their numbers; one may come again after a crash. */
class BadSequence {
  #next = 0;

  recognise(record: StreamRecord, accepted: string): Pick<Sent, "reason" | "bad"> {
    for (const number of [this.#skip(), this.#next - 1]) {
      if (number < 0) continue;
      const context = { nowMs: record.timestampMs, accepted: JSON.parse(accepted) };
      const { kind, reason, ...expected } = badEvent(number, context);
      if (!same(record, expected, kind === "future time")) continue;
      this.#next = Math.max(this.#next, number + 1);
      return { reason, bad: { number, kind } };
    }
    const value = Buffer.from(record.value ?? [])
      .subarray(0, 200)
      .toString();
    throw new Error(`nobody was to send ${record.topic}/${record.partition}/${record.offset}: ${value}`);
  }

  /** The number of the next record that cannot be taken for a right one sent again. */
  #skip(): number {
    while (BAD_KINDS[this.#next % BAD_KINDS.length] === REPEATS) this.#next++;
    return this.#next;
  }
}

type Content = Pick<StreamRecord, "key" | "value" | "headers">;

/** Whether two records have the same bytes; `exceptDue`: but for a time that the sender's clock decides. */
function same(a: Content, b: Content, exceptDue: boolean): boolean {
  const valueOf = ({ value }: Content): Uint8Array | null =>
    exceptDue && value !== null
      ? Buffer.from(
          Buffer.from(value)
            .toString()
            .replace(/"due":"[^"]*"/, ""),
        )
      : value;
  return sameBytes(valueOf(a), valueOf(b)) && sameBytes(a.key, b.key) && sameHeaders(a.headers, b.headers);
}

export function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

export function sameHeaders(a: Content["headers"], b: Content["headers"]): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => sameBytes(a[name] as Uint8Array, b[name] ?? null))
  );
}
