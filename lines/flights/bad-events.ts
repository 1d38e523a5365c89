import type { ReasonCode } from "@millrace/events";

/** A record that ingest must reject, as it is sent. */
export interface BadEvent {
  readonly kind: string;
  /** The reason that ingest must give. */
  readonly reason: ReasonCode;
  readonly topic: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer>>;
}

interface Recipe {
  readonly reason: ReasonCode;
  readonly value?: (departure: Departure, context: BadContext) => unknown;
  readonly headers?: Readonly<Record<string, string | Buffer>>;
  readonly key?: Buffer;
}
interface Departure {
  readonly flight: string;
  readonly due: string;
  readonly origin: string;
  readonly destination: string;
  readonly distance: number;
}
export interface BadContext {
  /** Wall clock, ms. */
  readonly nowMs: number;
  /** A departure that was sent and accepted before. */
  readonly accepted: Departure;
}

const CE = {
  ce_specversion: "1.0",
  ce_id: "ce-1",
  ce_source: "/airports/ATL",
  ce_type: "flights.departures",
};
const STRUCTURED = { "content-type": "application/cloudevents+json; charset=UTF-8" };
const envelope = (data: unknown, more: object = {}): object => ({
  specversion: "1.0",
  id: "ce-1",
  source: "/airports/ATL",
  type: "flights.departures",
  data,
  ...more,
});
/** The JSON of the departure with one field's text replaced, for what `JSON.stringify` would not write. */
const patched = (departure: Departure, field: keyof Departure, text: string): string =>
  JSON.stringify(departure).replace(`"${field}":${JSON.stringify(departure[field])}`, `"${field}":${text}`);
const without = (departure: Departure, field: keyof Departure): object =>
  Object.fromEntries(Object.entries(departure).filter(([name]) => name !== field));

/** Every kind of wrong record, by name. All are sent to the topic of departures. */
const RECIPES: Readonly<Record<string, Recipe>> = {
  "no value": { reason: "empty-value", value: () => null },
  "no bytes": { reason: "empty-value", value: () => Buffer.alloc(0) },
  "2 MB": { reason: "too-large", value: (d) => ({ ...d, note: "x".repeat(2_000_000) }) },
  "key of 8 kB": { reason: "key-too-large", key: Buffer.alloc(8_192, "k") },
  "headers of 100 kB": { reason: "headers-too-large", headers: { note: Buffer.alloc(100_000, "h") } },
  "Latin-1": { reason: "not-utf8", value: (d) => Buffer.from(JSON.stringify({ ...d, note: "é" }), "latin1") },
  "cut off": { reason: "not-json", value: (d) => JSON.stringify(d).slice(0, -10) },
  NaN: { reason: "not-json", value: (d) => patched(d, "distance", "NaN") },
  CSV: { reason: "not-json", value: (d) => Object.values(d).join(",") },
  "an Avro frame": { reason: "not-json", value: () => Buffer.from([0, 0, 0, 0, 1, 8, 65, 84, 76]) },
  "a list": { reason: "not-an-object", value: (d) => [d] },
  "JSON in JSON": { reason: "not-an-object", value: (d) => JSON.stringify(JSON.stringify(d)) },
  "nested 10,000 deep": { reason: "too-deep", value: () => `${"[".repeat(10_000)}${"]".repeat(10_000)}` },
  "Avro content type": {
    reason: "unsupported-content-type",
    headers: { "content-type": "application/avro" },
  },
  "CloudEvents batch": {
    reason: "unsupported-content-type",
    headers: { "content-type": "application/cloudevents-batch+json" },
    value: (d) => [envelope(d)],
  },
  "CloudEvent without id": { reason: "ce-missing-attribute", headers: { ...CE, ce_id: "" } },
  "CloudEvent with type only": { reason: "ce-missing-attribute", headers: { ce_type: CE.ce_type } },
  "CloudEvent 0.3": { reason: "ce-bad-specversion", headers: { ...CE, ce_specversion: "0.3" } },
  "CloudEvent of yesterday": { reason: "ce-bad-time", headers: { ...CE, ce_time: "yesterday" } },
  "structured CloudEvent with a number as id": {
    reason: "ce-bad-attribute",
    headers: STRUCTURED,
    value: (d) => envelope(d, { id: 7 }),
  },
  "structured CloudEvent without data": {
    reason: "ce-bad-data",
    headers: STRUCTURED,
    value: () => envelope(undefined),
  },
  "structured CloudEvent with bad base64": {
    reason: "ce-bad-data",
    headers: STRUCTURED,
    value: () => envelope(undefined, { data_base64: "%%%" }),
  },
  "unknown line": { reason: "unknown-line", headers: { ...CE, ce_type: "trains.departures" } },
  "unknown stream": { reason: "unknown-stream", headers: { ...CE, ce_type: "flights.cancellations" } },
  "stream of another topic": { reason: "wrong-topic", headers: { ...CE, ce_type: "flights.arrivals" } },
  "missing id": { reason: "missing-field", value: (d) => without(d, "flight") },
  "missing time": { reason: "missing-field", value: (d) => without(d, "due") },
  "null origin": { reason: "missing-field", value: (d) => ({ ...d, origin: null }) },
  "empty id": { reason: "empty-id", value: (d) => ({ ...d, flight: "" }) },
  "number in quotes": { reason: "wrong-type", value: (d) => ({ ...d, distance: String(d.distance) }) },
  "number as origin": { reason: "wrong-type", value: (d) => ({ ...d, origin: 42 }) },
  "list as destination": { reason: "wrong-type", value: (d) => ({ ...d, destination: [d.destination] }) },
  "half a mile": { reason: "not-an-integer", value: (d) => ({ ...d, distance: 0.5 }) },
  "1e999": { reason: "not-finite", value: (d) => patched(d, "distance", "1e999") },
  "negative distance": { reason: "out-of-range", value: (d) => ({ ...d, distance: -1 }) },
  "distance of 2^53 and more": {
    reason: "out-of-range",
    value: (d) => patched(d, "distance", "9007199254740993"),
  },
  "airport of four letters": { reason: "too-long", value: (d) => ({ ...d, origin: "KATL" }) },
  "id of 65 characters": { reason: "too-long", value: (d) => ({ ...d, flight: "f".repeat(65) }) },
  "half a surrogate pair": { reason: "bad-text", value: (d) => patched(d, "flight", '"\\ud800"') },
  "time without zone": { reason: "bad-time", value: (d) => ({ ...d, due: "2001-01-05 06:00" }) },
  "30 February": { reason: "bad-time", value: (d) => ({ ...d, due: "2001-02-30T06:00:00Z" }) },
  "future time": {
    reason: "future-time",
    value: (d, { nowMs }) => ({ ...d, due: new Date(nowMs + 7_200_000).toISOString() }),
  },
  "duplicate id": { reason: "duplicate-id", value: (_, { accepted }) => accepted },
};

/** Names of the kinds, in the order in which `badEvent` goes through them. */
export const BAD_KINDS: readonly string[] = Object.keys(RECIPES);

/**
 * The wrong record number `n`, from 0: the kinds in turn, without end. The same number and context give the same
 * record, which differs from a right one in one thing.
 */
export function badEvent(n: number, context: BadContext): BadEvent {
  const kind = BAD_KINDS[n % BAD_KINDS.length] as string;
  const { reason, value, headers = {}, key } = RECIPES[kind] as Recipe;
  const departure = { ...context.accepted, flight: `bad-${n}` };
  const content = value === undefined ? departure : value(departure, context);
  return {
    kind,
    reason,
    topic: "flights.departures",
    key: key ?? Buffer.from(departure.origin),
    value:
      content === null || Buffer.isBuffer(content)
        ? content
        : Buffer.from(typeof content === "string" ? content : JSON.stringify(content)),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, text]) => [name, Buffer.isBuffer(text) ? text : Buffer.from(text)]),
    ),
  };
}
