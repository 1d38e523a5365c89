import {
  type AcceptedEvent,
  canonicalJson,
  HEADERS,
  LINE_TOPIC_KINDS,
  type LineTopicKind,
  lineTopic,
  type Prediction,
} from "@millrace/contracts";
import { createComputeTask } from "@millrace/feature";
import { featurePart } from "@millrace/lines";
import { sha256Hex } from "@millrace/runtime";
import { type Broker, headerText, type StreamRecord } from "@millrace/stream";
import { expect } from "vitest";
import flights from "./early-flights.ts";
import { readTopics, type Statuses } from "./mesh-under-test.ts";
import { explain, type RightValues, type Sent, sameBytes, sameHeaders } from "./what-was-sent.ts";

/** The producers' topics. */
export const SOURCES: readonly string[] = Object.values(flights.streams).map(({ topic }) => topic);

const FEATURE_DIGEST = sha256Hex(canonicalJson(featurePart(flights)));

/** What the topics hold when all is settled. */
export interface Found {
  readonly sent: readonly Sent[];
  /** Records of the line's topics as they lie there. */
  readonly of: Readonly<Record<LineTopicKind, readonly StreamRecord[]>>;
}

/** Reads all topics of the line. Throws when one holds a record that nobody was to send. */
export async function read(broker: Broker, right: RightValues): Promise<Found> {
  const topics = await readTopics(broker, [
    ...SOURCES,
    ...LINE_TOPIC_KINDS.map((kind) => lineTopic("flights", kind)),
  ]);
  const all = (topic: string): readonly StreamRecord[] => topics.get(topic) ?? [];
  const entries = LINE_TOPIC_KINDS.map((kind) => [kind, all(lineTopic("flights", kind))] as const);
  return {
    sent: SOURCES.flatMap((topic) => explain(all(topic), right[topic] ?? [])),
    of: Object.fromEntries(entries) as unknown as Found["of"],
  };
}

/** Each record sent was accepted or rejected, as it had to be, with the content that it had; and nothing else was. */
export function expectOutcomes({ sent, of }: Found): void {
  const outcomes = [
    ...of.events.map((record) => `${sourceOf(record)} accepted ${eventText(record)}`),
    ...of.rejected.map(
      (record) => `${headerText(record, HEADERS.origin)} ${headerText(record, HEADERS.reason)}`,
    ),
  ];
  const due = sent.map(
    ({ record, reason }) => `${placeOf(record)} ${reason ?? `accepted ${sentText(record)}`}`,
  );
  expectSame("outcomes", outcomes.toSorted(), due.toSorted());

  const bySource = new Map(sent.map(({ record }) => [placeOf(record), record]));
  const changed = of.rejected.filter((record) => {
    const original = bySource.get(sourceOf(record)) as StreamRecord;
    const headers = Object.entries(record.headers).filter(([name]) => !ADDED.has(name));
    return !(
      sameBytes(record.value, original.value) &&
      sameBytes(record.key, original.key) &&
      sameHeaders(Object.fromEntries(headers), original.headers)
    );
  });
  expect(changed.map(placeOf), "rejected with other bytes than were sent").toEqual([]);
}

/** Headers that ingest adds to a rejected record. */
const ADDED: ReadonlySet<string> = new Set([
  HEADERS.source,
  HEADERS.stream,
  HEADERS.reason,
  HEADERS.detail,
  HEADERS.origin,
]);

/** Vectors and examples are, byte for byte, those of a clean replay of the accepted events (I7). */
export async function expectReplay({ of }: Found): Promise<void> {
  const replayed = { "flights.features": [] as string[], "flights.examples": [] as string[] };
  const task = createComputeTask(flights, FEATURE_DIGEST, null);
  await task.process(of.events, (_cause, topic, { value }) => {
    replayed[topic as keyof typeof replayed].push(Buffer.from(value as Uint8Array).toString());
  });
  expectSame("feature vectors", of.features.map(textOf), replayed["flights.features"]);
  expectSame("examples", of.examples.map(textOf), replayed["flights.examples"]);
}

/** One vector and one prediction per accepted departure, one example per departure that has landed. */
export function expectEachOnce({ of }: Found): void {
  const departures = of.events.filter(isDeparture).map(idOf);
  const arrived = new Set(of.events.filter((record) => !isDeparture(record)).map(idOf));
  expect(new Set(departures).size, "departures with ids of their own").toBe(departures.length);
  expectSame("vectors", of.features.map(idOf), departures);
  expectSame("predictions", of.predictions.filter(isOfStream).map(idOf), departures);
  const matured = departures.filter((id) => arrived.has(id));
  expectSame("examples", of.examples.map(idOf).toSorted(), matured.toSorted());
}

/** Answers to direct calls stand beside the stream's. */
function isOfStream(record: StreamRecord): boolean {
  return (JSON.parse(textOf(record)) as Prediction).origin === "stream";
}

/** The services' counts are those of the topics. */
export function expectCounts({ sent, of }: Found, { ingest, feature, inference }: Statuses): void {
  const received = (stream: string): number =>
    sent.filter(({ record }) => record.topic === flights.streams[stream]?.topic).length;
  const departures = of.events.filter(isDeparture).length;
  const reasons = tally(sent.flatMap(({ reason }) => reason ?? []));
  const replayed = sent.filter(({ record }) => record.headers[HEADERS.replayOf] !== undefined).length;
  expect(ingest?.counts).toEqual({
    "received.departures": received("departures"),
    "received.arrivals": received("arrivals"),
    "accepted.departures": departures,
    "accepted.arrivals": of.events.length - departures,
    rejected: of.rejected.length,
    ...Object.fromEntries(Object.entries(reasons).map(([reason, count]) => [`rejected.${reason}`, count])),
    ...(replayed > 0 ? { replayed } : {}),
  });
  expect(feature?.counts).toMatchObject({
    features: departures,
    examples: of.examples.length,
    "labels.matched": of.examples.length,
    "labels.expired": 0,
    "labels.unmatched": 0,
    "labels.awaited": departures - of.examples.length,
  });
  expect(inference?.counts).toMatchObject({ predictions: departures, skipped: 0 });
}

/** The sums in words. */
export function summary({ sent, of }: Found): string {
  const versions = tally(
    of.predictions.map((record) => `version ${(JSON.parse(textOf(record)) as Prediction).version}`),
  );
  return [
    `${sent.length} sent = ${of.events.length} accepted + ${of.rejected.length} rejected`,
    `${of.features.length} vectors, ${of.predictions.length} predictions ${JSON.stringify(versions)}`,
    `${of.examples.length} examples`,
    "nothing in the log twice",
  ].join("; ");
}

/** Compares long lists; names the first difference instead of printing them. */
export function expectSame(what: string, actual: readonly string[], expected: readonly string[]): void {
  const longest = actual.length > expected.length ? actual : expected;
  const at = longest.findIndex((_, i) => actual[i] !== expected[i]);
  if (at === -1) return;
  const around = (list: readonly string[]) => ({ rows: list.length, at, values: list.slice(at, at + 3) });
  expect(around(actual), what).toEqual(around(expected));
}

/** The value of a record as text. */
export function textOf({ value }: StreamRecord): string {
  return Buffer.from(value ?? []).toString();
}

const isDeparture = (record: StreamRecord): boolean =>
  headerText(record, HEADERS.stream) === flights.predict.on;
const idOf = (record: StreamRecord): string => (JSON.parse(textOf(record)) as { id: string }).id;
const placeOf = ({ topic, partition, offset }: StreamRecord): string => `${topic}/${partition}/${offset}`;
/** `topic/partition/offset` of the producer's record. */
const sourceOf = (record: StreamRecord): string =>
  headerText(record, HEADERS.source)?.replace(/\/0$/, "") ?? "";

function tally(values: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    [...Map.groupBy(values, (value) => value)].map(([value, all]) => [value, all.length]),
  );
}

/** An accepted event and a record sent as the same text when they say the same. */
function eventText(record: StreamRecord): string {
  const { id, stream, time, data } = JSON.parse(textOf(record)) as AcceptedEvent;
  return canonicalJson([id, stream, time, data]);
}

function sentText(record: StreamRecord): string {
  const data = JSON.parse(textOf(record)) as Record<string, unknown>;
  const [name, { id, time }] = Object.entries(flights.streams).find(
    ([, { topic }]) => topic === record.topic,
  ) as [string, (typeof flights.streams)[string]];
  const timeMs = Date.parse(String(data[time]));
  return canonicalJson([data[id], name, timeMs, { ...data, [time]: timeMs }]);
}
