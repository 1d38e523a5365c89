import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockFiles, exampleSet, type Questions, type ReplaySource, trainingSet } from "@millrace/archive";
import { Computation } from "@millrace/computation";
import type { Example, FieldValue } from "@millrace/contracts";
import { createEventRow, type EventRow, fillRow } from "@millrace/events";
import { toExample } from "@millrace/labels";
import flights from "@millrace/line-flights";
import { defineLine, eventLog, type LearningLine, type LineDefinition } from "@millrace/lines";
import { openParquet, PARQUET_MODULE, type Parquet, type WriteColumn } from "@millrace/parquet";
import { type Block, partitionOf } from "@millrace/stream";
import { random } from "@millrace/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2001, 0, 1);
const BLOCK_EVENTS = 150;
const FEATURES = "ab".repeat(32);

/** Payments by account in four partitions. */
const shop: LineDefinition = defineLine({
  name: "shop",
  title: "Shop",
  partitions: 4,
  streams: {
    payments: {
      topic: "shop.payments",
      id: "id",
      time: "at",
      key: ["account"],
      lateMax: "5m",
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        account: { type: "category" },
        merchant: { type: "category" },
        amount: { type: "decimal", scale: 2 },
      },
    },
  },
  predict: { on: "payments" },
  features: {
    count_10m: { kind: "window", aggregate: "count", from: "payments", by: ["account"], window: "10m" },
    sum_1h: {
      kind: "window",
      aggregate: "sum",
      of: "amount",
      from: "payments",
      by: ["account"],
      window: "1h",
    },
    merchants_1h: {
      kind: "window",
      aggregate: "distinct",
      of: "merchant",
      from: "payments",
      by: ["account"],
      window: "1h",
    },
    p90_1h: {
      kind: "window",
      aggregate: "quantile",
      of: "amount",
      q: 0.9,
      from: "payments",
      by: ["account"],
      window: "1h",
      where: 'merchant != "m3"',
    },
    usual: { kind: "expression", value: "amount / (sum_1h / count_10m)" },
  },
});

interface Event {
  readonly stream: string;
  readonly id: string;
  readonly time: number;
  readonly acceptedAt: number;
  readonly data: Readonly<Record<string, FieldValue>>;
}

/** A payment every four seconds, some of them late; accepted one a ms. */
function payments(count: number): Event[] {
  const draw = random(11);
  return Array.from({ length: count }, (_, i) => {
    const time = START_MS + i * 4_000 - (draw() < 0.05 ? Math.floor(draw() * 200_000) : 0);
    const data = {
      id: `p${i}`,
      at: time,
      account: `a${Math.floor(40 * draw() ** 2)}`,
      merchant: `m${Math.floor(9 * draw())}`,
      amount: Math.floor(draw() * 1e4) / 100,
    };
    return { stream: "payments", id: data.id, time, acceptedAt: START_MS + i, data };
  });
}

/** A flight every ten minutes, whose delay is told after two hours, for every fifth again and otherwise, for some never. */
function flightEvents(count: number): Event[] {
  const event = (
    stream: string,
    n: number,
    time: number,
    more: Event["data"],
  ): Omit<Event, "acceptedAt"> => ({
    stream,
    id: `f${n}`,
    time,
    data: { flight: `f${n}`, origin: ["ATL", "DFW", "ORD"][n % 3] as string, destination: "LGA", ...more },
  });
  const all = Array.from({ length: count }, (_, n) => {
    const due = START_MS + n * (HOUR_MS / 6);
    const landed = due + 2 * HOUR_MS + (n % 4) * 60_000;
    return [
      event("departures", n, due, { due, distance: 600 + n }),
      ...(n % 7 === 0 ? [] : [event("arrivals", n, landed, { landed, delay: n % 3 === 0 ? 40 : 0 })]),
      ...(n % 5 === 0
        ? [event("arrivals", n, landed + HOUR_MS, { landed: landed + HOUR_MS, delay: 20 })]
        : []),
    ];
  }).flat();
  const inOrder = all.sort((a, b) => a.time - b.time);
  return inOrder.map((one, i) => ({ ...one, acceptedAt: START_MS + 10 * HOUR_MS + i }));
}

let folder: string;
let parquet: Parquet;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-training-set-"));
  mkdirSync(join(folder, "blocks"));
  parquet = await openParquet({ memoryMb: 128, threads: 1, scratch: join(folder, "spill") });
});
afterEach(() => {
  parquet.close();
  rmSync(folder, { recursive: true });
});

const partitionOfEvent = ({ partitions, streams }: LineDefinition, { stream, data }: Event): number => {
  const key = streams[stream]?.key ?? [];
  return partitionOf(key.map((name) => data[name] as string).join("|"), partitions);
};

/** Writes events as ingest archives them; `lacks`: a column that the first block of a partition does not have. */
async function archive(line: LineDefinition, events: readonly Event[], lacks = ""): Promise<Block[]> {
  const blocks: Block[] = [];
  const byPartition = Map.groupBy(events, (event) => partitionOfEvent(line, event));
  for (const [partition, ours] of byPartition) {
    for (let from = 0; from < ours.length; from += BLOCK_EVENTS) {
      const rows = ours.slice(from, from + BLOCK_EVENTS);
      const digest = `${partition}-${from}`;
      const columns = Object.entries(columnsOf(line, rows, from)).filter(
        ([name]) => from > 0 || name !== lacks,
      );
      await parquet.write(join(folder, "blocks", `${digest}.parquet`), Object.fromEntries(columns));
      const times = rows.map(({ time }) => time);
      blocks.push({
        line: line.name,
        topic: eventLog(line).topic,
        partition,
        firstOffset: from,
        nextOffset: from + rows.length,
        rows: rows.length,
        digest,
        bytes: 1,
        minTimeMs: Math.min(...times),
        maxTimeMs: Math.max(...times),
        maxKnownAtMs: 0,
      });
    }
  }
  return blocks;
}

function columnsOf(
  { streams }: LineDefinition,
  rows: readonly Event[],
  firstOffset: number,
): Record<string, WriteColumn> {
  const text = (of: (event: Event) => string | null): WriteColumn => ({ kind: "text", values: rows.map(of) });
  const whole = (of: (event: Event, i: number) => number): WriteColumn => ({
    kind: "integer",
    values: Float64Array.from(rows, of),
  });
  const fields = Object.entries(streams).flatMap(([stream, { fields: definitions }]) =>
    Object.entries(definitions).map(([name, field]): [string, WriteColumn] => {
      const valueOf = (event: Event): FieldValue =>
        event.stream === stream ? (event.data[name] ?? null) : null;
      const numberOf = (event: Event): number => (valueOf(event) as number | null) ?? Number.NaN;
      const column = `${stream}.${name}`;
      if (field.type === "text" || field.type === "category") {
        return [column, text((event) => valueOf(event) as string | null)];
      }
      if (field.type !== "decimal") return [column, whole(numberOf)];
      const values = Float64Array.from(rows, (event) => Math.round(numberOf(event) * 10 ** field.scale));
      return [column, { kind: "decimal", scale: field.scale, values }];
    }),
  );
  return {
    id: text(({ id }) => id),
    stream: text(({ stream }) => stream),
    time: whole(({ time }) => time),
    accepted_at: whole(({ acceptedAt }) => acceptedAt),
    offset: whole((_, i) => firstOffset + i),
    ...Object.fromEntries(fields),
  };
}

const source = (
  blocks: readonly Block[],
  threads: number,
  more: Partial<ReplaySource> = {},
): ReplaySource => ({
  blocks,
  files: new BlockFiles(join(folder, "blocks"), {
    getToFile: async (digest) => {
      throw new Error(`${digest} is not there`);
    },
  }),
  scan: { module: PARQUET_MODULE, memoryMb: 128, scratch: join(folder, "spill") },
  threads,
  onProgress: () => {},
  signal: new AbortController().signal,
  ...more,
});

/** Events of the stream predicted on, asked for as they were accepted. */
function questionsOf(line: LineDefinition, events: readonly Event[]): Questions {
  const fields = line.streams[line.predict.on]?.fields ?? {};
  const values = Object.entries(fields).map(([name, { type }]) => {
    const of = (event: Event): FieldValue => event.data[name] ?? null;
    if (type === "text" || type === "category")
      return [name, events.map((event) => of(event) as string)] as const;
    const unit = type === "decimal" ? 100 : 1;
    return [name, Float64Array.from(events, (event) => Math.round((of(event) as number) * unit))] as const;
  });
  return {
    times: Float64Array.from(events, ({ time }) => time),
    // The log has one event a ms: by then all events before it were accepted.
    knownAt: Float64Array.from(events, ({ acceptedAt }) => acceptedAt - 1),
    fields: Object.fromEntries(values),
  };
}

/** What the stream makes of the events. */
function stream(
  line: LineDefinition,
  events: readonly Event[],
): { vectors: Map<string, number[]>; examples: Example[] } {
  const computations = new Map<number, Computation>();
  const rows = new Map<string, EventRow>(
    Object.entries(line.streams).map(([name, definition]) => [name, createEventRow(name, definition)]),
  );
  const vectors = new Map<string, number[]>();
  const examples: Example[] = [];
  for (const event of events) {
    const partition = partitionOfEvent(line, event);
    const computation = computations.get(partition) ?? new Computation(line, FEATURES, null);
    computations.set(partition, computation);
    const row = rows.get(event.stream) as EventRow;
    const fields = Object.entries(line.streams[event.stream]?.fields ?? {});
    fillRow(row, fields, event.data, event.time, event.acceptedAt);
    computation.take(row, {
      vector: (_id, _time, values) => vectors.set(event.id, [...values]),
      example: (example) => examples.push(toExample(example)),
    });
  }
  return { vectors, examples };
}

describe("a training set in order of acceptance", () => {
  const options = { order: "acceptance", knownAtMs: null, counted: "read" } as const;

  it.each<[string, LineDefinition, readonly Event[]]>([
    ["four partitions", shop, payments(2_000)],
    ["two streams, a label and windows over everything", flights, flightEvents(400)],
  ])("has the vectors of the stream, bit for bit: %s", async (_, line, events) => {
    const asked = events.filter((event) => event.stream === line.predict.on);
    const { vectors } = stream(line, events);
    const blocks = await archive(line, events);
    for (const threads of [1, 2]) {
      const set = await trainingSet(line, questionsOf(line, asked), options, source(blocks, threads));
      expect(set.incomplete).toBe(0);
      const width = set.names.length;
      asked.forEach(({ id }, i) => {
        expect([...set.values.subarray(i * width, (i + 1) * width)]).toEqual(vectors.get(id));
      });
    }
  });

  it("refuses questions that do not say by when, and those that are too late", async () => {
    const events = payments(200);
    const blocks = await archive(shop, events);
    const questions = questionsOf(shop, events);
    const ask = (knownAt: Float64Array | null): Promise<unknown> =>
      trainingSet(shop, { ...questions, knownAt }, options, source(blocks, 2));
    await expect(ask(null)).rejects.toThrow("each question needs the time");
    const some = questions.knownAt?.map((ms, i) => (i === 6 ? Number.NaN : ms)) ?? null;
    await expect(ask(some)).rejects.toThrow(/question 7 does not say by when/);
    const end = new Float64Array(events.length).fill(START_MS + HOUR_MS);
    await expect(ask(end)).rejects.toMatchObject({ name: "QuestionError", row: 0 });
    await expect(ask(end)).rejects.toThrow(/further back than 5m before what was known by then/);
  });
});

describe("a training set by event time", () => {
  const options = { order: "event-time", knownAtMs: null, counted: "readByKey" } as const;

  it("counts what had happened, however late it came, with any number of threads", async () => {
    const events = payments(2_000);
    const blocks = await archive(shop, events, "payments.merchant");
    const draw = random(3);
    const asked = Array.from({ length: 300 }, () => {
      const { data } = events[Math.floor(draw() * events.length)] as Event;
      return {
        account: data["account"] as string,
        time: (data["at"] as number) + Math.floor(draw() * 60_000),
      };
    });
    const questions = {
      times: Float64Array.from(asked, ({ time }) => time),
      knownAt: null,
      fields: { account: asked.map(({ account }) => account) },
    };
    const progress: number[] = [];
    const onProgress = (done: number, of: number): void => {
      progress.push(done);
      expect(of).toBe(events.length);
    };
    const one = await trainingSet(shop, questions, options, source(blocks, 1, { onProgress }));
    expect(progress[0]).toBe(0);
    expect(progress.at(-1)).toBe(one.events);
    const three = await trainingSet(shop, questions, options, source(blocks, 3));
    expect(three).toEqual(one);
    asked.forEach(({ account, time }, i) => {
      const pane = Math.floor(time / 30_000);
      const counted = events.filter(
        (event) =>
          event.data["account"] === account &&
          event.time <= time &&
          Math.floor(event.time / 30_000) > pane - 20,
      );
      expect(one.values[i * one.names.length]).toBe(counted.length);
    });
    // The rest of an archive that begins later is not known.
    const later = blocks.filter(({ firstOffset }) => firstOffset > 0);
    expect((await trainingSet(shop, questions, options, source(later, 2))).incomplete).toBeGreaterThan(0);
  });

  it("leaves out what was accepted after a time", async () => {
    const events = payments(600);
    const blocks = await archive(shop, events);
    const questions = questionsOf(shop, events.slice(500));
    const known = events.slice(0, 400);
    const at = { ...options, knownAtMs: (known.at(-1) as Event).acceptedAt };
    const set = await trainingSet(shop, questions, at, source(blocks, 2));
    rmSync(join(folder, "blocks"), { recursive: true });
    mkdirSync(join(folder, "blocks"));
    const less = await trainingSet(shop, questions, options, source(await archive(shop, known), 2));
    expect(set.values).toEqual(less.values);
  });
});

describe("a replay that cannot be done", () => {
  const options = { order: "event-time", knownAtMs: null, counted: "readByKey" } as const;

  it("names the gap in the archive", async () => {
    const events = payments(3_000);
    const blocks = (await archive(shop, events)).filter(({ firstOffset }) => firstOffset !== BLOCK_EVENTS);
    const asking = trainingSet(shop, questionsOf(shop, events), options, source(blocks, 2));
    await expect(asking).rejects.toThrow(/has nothing from 150 to 299/);
  });

  it("rejects with the error of the thread that failed, and with the signal's reason", async () => {
    const events = payments(2_000);
    const blocks = await archive(shop, events);
    const questions = questionsOf(shop, events);
    const stop = new AbortController();
    const onProgress = (events: number): void => {
      if (events > 0) stop.abort(new Error("enough"));
    };
    const stopped = source(blocks, 2, { onProgress, signal: stop.signal });
    await expect(trainingSet(shop, questions, options, stopped)).rejects.toThrow("enough");
    writeFileSync(join(folder, "blocks", `${blocks[0]?.digest}.parquet`), "no Parquet at all");
    await expect(trainingSet(shop, questions, options, source(blocks, 2))).rejects.toThrow(/parquet/i);
  });
});

describe("an example set", () => {
  const all = { fromMs: Number.NEGATIVE_INFINITY, untilMs: Number.POSITIVE_INFINITY, acceptedAtMs: null };
  const learning = flights as LearningLine;
  const line = (label: Partial<LearningLine["label"]>): LearningLine => ({
    ...learning,
    label: { ...learning.label, waitFor: "6h", ...label },
  });
  const events = flightEvents(400);

  const sets = async (
    given: LearningLine,
    options: typeof all | (Omit<typeof all, "acceptedAtMs"> & { acceptedAtMs: number }),
    threads = 1,
  ): Promise<{ id: string; label: number; revision: number; labelled: string; values: number[] }[]> => {
    const { examples, names } = await exampleSet(
      given,
      FEATURES,
      options,
      source(await archive(given, events), threads),
    );
    const { ids, times, labels, revisions, labelled, values } = examples;
    expect([...times]).toEqual([...times].sort((a, b) => a - b));
    return ids.map((id, row) => ({
      id,
      label: labels[row] as number,
      revision: revisions[row] as number,
      labelled: labelled[row] as string,
      values: [...values.subarray(row * names.length, (row + 1) * names.length)],
    }));
  };

  it("has one row for each event that the stream labelled, with the vector that was served", async () => {
    const given = line({ conflict: "last" });
    const { vectors, examples } = stream(given, events);
    const newest = new Map(examples.map((example) => [example.id, example]));
    const rows = await sets(given, all);
    expect(rows.length).toBe(newest.size);
    expect(rows.some(({ revision }) => revision > 0)).toBe(true);
    for (const { id, label, revision, values } of rows) {
      expect({ label, revision }).toEqual({
        label: newest.get(id)?.label,
        revision: newest.get(id)?.revision,
      });
      expect(values).toEqual(vectors.get(id));
    }
  });

  it("knows what was known by a time: no later label, no later correction", async () => {
    const given = line({ conflict: "last" });
    const { examples } = stream(given, events);
    const acceptedAtMs = (events[600] as Event).acceptedAt;
    const known = examples.filter((example) => example.labelAcceptedAtMs <= acceptedAtMs);
    const newest = new Map(known.map((example) => [example.id, example]));
    const rows = await sets(given, { ...all, acceptedAtMs });
    expect(new Map(rows.map(({ id, revision }) => [id, revision]))).toEqual(
      new Map([...newest].map(([id, { revision }]) => [id, revision])),
    );
    expect(newest.size).toBeLessThan(new Map(examples.map(({ id }) => [id, id])).size);
  });

  it("leaves out events whose wait is not over where silence means no, and those outside of its times", async () => {
    const given = line({ silence: "negative", conflict: "last" });
    const rows = await sets(given, all);
    expect(rows.some(({ labelled, label }) => labelled === "silence" && label === 0)).toBe(true);
    const times = new Map(
      events.filter((one) => one.stream === "departures").map(({ id, time }) => [id, time]),
    );
    const newest = Math.max(...events.map(({ time }) => time));
    for (const { id } of rows) expect(times.get(id)).toBeLessThan(newest - 6 * HOUR_MS);
    const [fromMs, untilMs] = [START_MS + 10 * HOUR_MS, START_MS + 20 * HOUR_MS];
    const some = await sets(given, { ...all, fromMs, untilMs });
    expect(some.map(({ id }) => id)).toEqual(
      rows
        .map(({ id }) => id)
        .filter((id) => (times.get(id) ?? 0) >= fromMs && (times.get(id) ?? 0) < untilMs),
    );
  });
});
