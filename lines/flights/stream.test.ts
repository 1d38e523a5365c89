import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { createEventReader } from "@millrace/events";
import { openParquet, type Parquet } from "@millrace/parquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import line from "./line.ts";
import { isSlow, SHOCK_DEFAULT_MS } from "./shock.ts";
import { END_MS, FIRST_MS, type FlightEvent, flightEvents, type StreamOptions } from "./stream.ts";

const DAY_MS = 86_400_000;
const file = fileURLToPath(new URL("../data/flights-3m.parquet", import.meta.resolve("vega-datasets")));

let parquet: Parquet;
beforeAll(async () => {
  parquet = await openParquet({ memoryMb: 256, threads: 1, scratch: tmpdir() });
});
afterAll(() => parquet.close());

async function events(options: Partial<StreamOptions>): Promise<FlightEvent[]> {
  const startMs = options.startMs ?? FIRST_MS;
  const from = options.from ?? { timeMs: startMs, eventsAtTime: 0 };
  const all: FlightEvent[] = [];
  const complete = { startMs, from, untilMs: FIRST_MS + 2 * DAY_MS, shock: null, ...options };
  for await (const day of flightEvents(parquet.queryBatches, file, complete)) all.push(...day);
  return all;
}

const departures = (all: readonly FlightEvent[]): FlightEvent[] =>
  all.filter((event) => event.kind === "departure");
const arrivals = (all: readonly FlightEvent[]): FlightEvent[] =>
  all.filter((event) => event.kind === "arrival");

describe("the stream of flights", () => {
  let first: FlightEvent[];
  beforeAll(async () => {
    first = await events({});
  });

  it("holds the flights of the data set", () => {
    expect(departures(first)).toHaveLength(14_828 + 16_850);
    expect(first[0]).toEqual({
      kind: "departure",
      time: FIRST_MS + 60_000,
      value: {
        flight: "LAS-PHL-0",
        due: "2001-01-01T00:01:00.000Z",
        origin: "LAS",
        destination: "PHL",
        distance: 2176,
      },
    });
    expect(arrivals(first).find((event) => event.value.flight === "LAS-PHL-0")).toEqual({
      kind: "arrival",
      time: FIRST_MS + 60_000 + (30 + 290 + 33) * 60_000,
      value: {
        flight: "LAS-PHL-0",
        landed: "2001-01-01T05:54:00.000Z",
        origin: "LAS",
        destination: "PHL",
        delay: 33,
      },
    });
  });

  it("is in event-time order", () => {
    expect(first.every((event, i) => i === 0 || event.time >= (first[i - 1] as FlightEvent).time)).toBe(true);
    expect(first.at(-1)?.time).toBeLessThan(FIRST_MS + 2 * DAY_MS);
  });

  it("lands no flight before it is due, and each flight once", () => {
    const due = new Map<string, number>();
    const wrong: FlightEvent[] = [];
    for (const event of first) {
      const { flight } = event.value;
      if (event.kind === "departure") {
        if (due.has(flight)) wrong.push(event);
        due.set(flight, event.time);
      } else {
        if (event.time <= (due.get(flight) ?? Number.POSITIVE_INFINITY)) wrong.push(event);
        due.set(flight, Number.POSITIVE_INFINITY);
      }
    }
    expect(wrong).toEqual([]);
    expect(arrivals(first).length).toBeGreaterThan(30_000);
  });

  it("is the same each time", async () => {
    expect(JSON.stringify(await events({}))).toBe(JSON.stringify(first));
  });

  it("goes on from any place as if it had never stopped", async () => {
    const shock = { fromMs: FIRST_MS + DAY_MS / 2 };
    const whole = await events({ shock });
    for (const index of [1, 20_001, whole.length - 1]) {
      const { time: timeMs } = whole[index] as FlightEvent;
      const eventsAtTime = index - whole.findIndex((event) => event.time === timeMs);
      const rest = await events({ shock, from: { timeMs, eventsAtTime } });
      expect(rest.length).toBe(whole.length - index);
      expect(JSON.stringify(rest)).toBe(JSON.stringify(whole.slice(index)));
    }
  });

  it("leaves out flights before the start, with their arrivals", async () => {
    const startMs = FIRST_MS + DAY_MS + 3_600_000;
    const later = await events({ startMs });
    const due = new Set(departures(later).map((event) => event.value.flight));
    expect(departures(later)[0]?.time).toBeGreaterThanOrEqual(startMs);
    expect(arrivals(later).every((event) => due.has(event.value.flight))).toBe(true);
  });

  it("is accepted by its line", () => {
    const readers = {
      departure: createEventReader(line, "departures"),
      arrival: createEventReader(line, "arrivals"),
    };
    for (const { kind, time, value } of first.slice(0, 5_000)) {
      const record = {
        key: null,
        value: Buffer.from(JSON.stringify(value)),
        headers: {},
        timestampMs: Date.now(),
      };
      expect(readers[kind](record)).toMatchObject({ kind: "accepted", event: { id: value.flight, time } });
    }
  });

  it("ends when the last flight has landed, and no flight is under way for two days", async () => {
    const startMs = END_MS - 4 * DAY_MS;
    const last = await events({ startMs, untilMs: END_MS, shock: { fromMs: 0 } });
    expect(arrivals(last)).toHaveLength(departures(last).length);
    for await (const { columns } of parquet.queryBatches(
      `SELECT max(30 + distance / 7.5 + delay + 45) AS minutes FROM read_parquet('${file}')`,
    )) {
      expect(columns["minutes"]?.[0]).toBeLessThan(2 * 1440);
    }
  });
});

describe("the shock", () => {
  it("delays short flights from a third of the airports and hastens long ones, from its time on", async () => {
    const fromMs = FIRST_MS + DAY_MS / 2;
    const [calm, shocked] = [await events({}), await events({ shock: { fromMs } })];
    expect(JSON.stringify(departures(shocked))).toBe(JSON.stringify(departures(calm)));
    const delays = new Map(
      arrivals(calm).map(({ value }) => [value.flight, "delay" in value ? value.delay : 0]),
    );
    const departed = new Map(departures(calm).map((event) => [event.value.flight, event]));
    const changes = new Set<number>();
    const wrong: FlightEvent["value"][] = [];
    for (const { value } of arrivals(shocked)) {
      const before = delays.get(value.flight);
      const departure = departed.get(value.flight);
      if (before === undefined || departure?.kind !== "departure" || !("delay" in value)) continue;
      const change = value.delay - before;
      changes.add(change);
      const isShort = departure.value.distance < 570;
      const expected = departure.time < fromMs || !isSlow(value.origin) ? 0 : isShort ? 45 : -40;
      if (change !== expected) wrong.push(value);
    }
    expect(wrong).toEqual([]);
    expect([...changes].sort((a, b) => a - b)).toEqual([-40, 0, 45]);
    expect(shocked.every((event, i) => i === 0 || event.time >= (shocked[i - 1] as FlightEvent).time)).toBe(
      true,
    );
  });

  it("affects about a third of the flights", async () => {
    const flights = departures(await events({}));
    const share = flights.filter(({ value }) => isSlow(value.origin)).length / flights.length;
    expect(share).toBeGreaterThan(0.28);
    expect(share).toBeLessThan(0.38);
  });

  it("comes after five days unless told otherwise", () => {
    expect(new Date(SHOCK_DEFAULT_MS).toISOString()).toBe("2001-01-06T00:00:00.000Z");
  });
});
