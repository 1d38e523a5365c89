import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openParquet } from "@millrace/parquet";
import { sleep, writeFileDurably } from "@millrace/runtime";
import { Kafka, logLevel, type Message, Partitioners, type TopicMessages } from "kafkajs";
import { badEvent } from "./bad-events.ts";
import { HELP, OptionError, type PlayOptions, readKafkaSettings, readPlayOptions } from "./config.ts";
import { Pace } from "./pace.ts";
import { type FlightEvent, flightEvents, type Place } from "./stream.ts";

/** Where the player is. Kept in a file after each send that was acknowledged. */
interface Progress {
  readonly startMs: number;
  readonly place: Place;
  readonly shockFromMs: number | null;
  readonly departures: number;
  readonly arrivals: number;
  readonly bad: number;
}

type Departure = Extract<FlightEvent, { kind: "departure" }>;
const isDeparture = (event: FlightEvent): event is Departure => event.kind === "departure";

const TICK_MS = 20;
const SEND_EVENTS_MAX = 5_000;
const TOPICS = { departure: "flights.departures", arrival: "flights.arrivals" } as const;

async function play(options: PlayOptions, stop: AbortSignal): Promise<void> {
  let progress = await readProgress(options);
  const parquet = await openParquet({
    memoryMb: 256,
    threads: 1,
    scratch: join(tmpdir(), `millrace-player-${process.pid}`),
  });
  const file = fileURLToPath(new URL("../data/flights-3m.parquet", import.meta.resolve("vega-datasets")));
  const { startMs, place: from, shockFromMs } = progress;
  const shock = shockFromMs === null ? null : { fromMs: shockFromMs };
  const source = new Source(
    flightEvents(parquet.queryBatches, file, { startMs, from, untilMs: options.untilMs, shock }),
  );
  const producer = kafka().producer({
    allowAutoTopicCreation: false,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();

  const pace = new Pace(options.speed, options.rate, Date.now(), from.timeMs);
  let left = options.eventsMax;
  let badLeft = options.bad;
  let lastDeparture: Departure | null = null;
  const sendBad = async (accepted: Departure): Promise<void> => {
    const record = badEvent(progress.bad, { nowMs: Date.now(), accepted: accepted.value });
    const { topic, key, value, headers } = record;
    await producer.send({ acks: -1, topic, messages: [{ key, value, headers }] });
    progress = { ...progress, bad: progress.bad + 1 };
    badLeft--;
    await keepProgress(options, progress);
  };

  /** How many wrong records shall be out: spread over the right ones, or one with each send when these have no end. */
  const badDue = (): number =>
    Number.isFinite(options.eventsMax)
      ? Math.floor(options.bad * (1 - left / options.eventsMax))
      : options.bad - badLeft + 1;

  let reportAtMs = Date.now();
  while (!stop.aborted && left > 0) {
    const { eventTimeMs, eventsMax } = pace.step(Date.now());
    const events = await source.take(eventTimeMs, Math.min(eventsMax, left, SEND_EVENTS_MAX));
    if (events === null) break;
    const last = events.at(-1);
    if (last !== undefined) {
      await producer.sendBatch({ acks: -1, topicMessages: topicMessages(events, pace) });
      left -= events.length;
      progress = advance(progress, events);
      lastDeparture = events.findLast(isDeparture) ?? lastDeparture;
      await keepProgress(options, progress);
      while (badLeft > 0 && lastDeparture !== null && options.bad - badLeft < badDue())
        await sendBad(lastDeparture);
    }
    pace.sent(events.length, last !== undefined && source.hasBefore(eventTimeMs) ? last.time : null);
    if (Date.now() >= reportAtMs) {
      report(progress);
      reportAtMs += 1_000;
    }
    await sleep(TICK_MS, stop);
  }
  while (badLeft > 0 && lastDeparture !== null && !stop.aborted) await sendBad(lastDeparture);
  report(progress);
  await producer.disconnect();
  parquet.close();
}

/** The events of the stream, taken from the front. */
class Source {
  readonly #days: AsyncIterator<readonly FlightEvent[], void>;
  /** The next day, read while the one before is being sent. */
  #ahead: Promise<IteratorResult<readonly FlightEvent[], void>>;
  #day: readonly FlightEvent[] = [];
  #next = 0;

  constructor(days: AsyncIterator<readonly FlightEvent[], void>) {
    this.#days = days;
    this.#ahead = this.#read();
  }

  /** The next events up to a time, at most `max` of them and of one day; null at the end of the stream. */
  async take(untilMs: number, max: number): Promise<readonly FlightEvent[] | null> {
    while (this.#next === this.#day.length) {
      const day = await this.#ahead;
      if (day.done === true) return null;
      this.#ahead = this.#read();
      this.#day = day.value;
      this.#next = 0;
    }
    const first = this.#next;
    while (this.#next - first < max && this.hasBefore(untilMs)) this.#next++;
    return this.#day.slice(first, this.#next);
  }

  #read(): Promise<IteratorResult<readonly FlightEvent[], void>> {
    const day = this.#days.next();
    day.catch(() => {}); // awaited when it is needed, or never when the player stops before
    return day;
  }

  /** Whether an event up to this time is at hand. */
  hasBefore(untilMs: number): boolean {
    const event = this.#day[this.#next];
    return event !== undefined && event.time <= untilMs;
  }
}

/** Both topics in one request, so that they advance together; the records' timestamps keep the order between them. */
function topicMessages(events: readonly FlightEvent[], pace: Pace): TopicMessages[] {
  const messages: Record<FlightEvent["kind"], Message[]> = { departure: [], arrival: [] };
  for (const { kind, time, value } of events) {
    messages[kind].push({
      key: value.origin,
      value: JSON.stringify(value),
      timestamp: String(pace.clockOf(time)),
    });
  }
  return (["departure", "arrival"] as const)
    .map((kind) => ({ topic: TOPICS[kind], messages: messages[kind] }))
    .filter((topic) => topic.messages.length > 0);
}

function advance(progress: Progress, events: readonly FlightEvent[]): Progress {
  const timeMs = events.at(-1)?.time ?? progress.place.timeMs;
  const atTime = events.filter((event) => event.time === timeMs).length;
  const before = progress.place.timeMs === timeMs ? progress.place.eventsAtTime : 0;
  const departures = events.filter((event) => event.kind === "departure").length;
  return {
    ...progress,
    place: { timeMs, eventsAtTime: before + atTime },
    departures: progress.departures + departures,
    arrivals: progress.arrivals + events.length - departures,
  };
}

/**
 * The place to go on from. A change that has begun stays as it is, since its flights are under way; one that has
 * not begun may be moved, but not into the past.
 */
async function readProgress({ progressFile, fromMs, shockFromMs }: PlayOptions): Promise<Progress> {
  const text = progressFile === null ? null : await readFile(progressFile, "utf8").catch(unlessMissing);
  if (text === null) {
    const place = { timeMs: fromMs, eventsAtTime: 0 };
    return { startMs: fromMs, place, shockFromMs, departures: 0, arrivals: 0, bad: 0 };
  }
  const kept = JSON.parse(text) as Progress;
  const hasBegun = kept.shockFromMs !== null && kept.shockFromMs <= kept.place.timeMs;
  if (shockFromMs === null || shockFromMs === kept.shockFromMs) return kept;
  if (hasBegun) {
    process.stderr.write(`the change of ${iso(kept.shockFromMs)} has begun and stays\n`);
    return kept;
  }
  return { ...kept, shockFromMs: Math.max(shockFromMs, kept.place.timeMs) };
}

function unlessMissing(error: NodeJS.ErrnoException): null {
  if (error.code !== "ENOENT") throw error;
  return null;
}

async function keepProgress({ progressFile }: PlayOptions, progress: Progress): Promise<void> {
  if (progressFile !== null) await writeFileDurably(progressFile, `${JSON.stringify(progress)}\n`);
}

function report({ departures, arrivals, bad, place, shockFromMs }: Progress): void {
  const line = {
    sent: departures + arrivals + bad,
    departures,
    arrivals,
    bad,
    eventTime: iso(place.timeMs),
    shockAt: iso(shockFromMs),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function iso(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}

function kafka(): Kafka {
  const { brokers, sasl } = readKafkaSettings();
  return new Kafka({
    clientId: "flights-player",
    brokers,
    ...(sasl === null ? {} : { sasl: { mechanism: "plain" as const, ...sasl } }),
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 60 },
    logLevel: logLevel.ERROR,
    logCreator:
      () =>
      ({ log }) =>
        void process.stderr.write(`${log.message}\n`),
  });
}

const stopping = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => stopping.abort());
// Nobody reads any more: whoever started the player is gone.
process.stdout.on("error", () => stopping.abort());
try {
  const options = readPlayOptions(process.argv.slice(2));
  if (options === null) process.stdout.write(HELP);
  else await play(options, stopping.signal);
} catch (error) {
  if (!(error instanceof OptionError)) throw error;
  process.stderr.write(`${error.message}; see --help\n`);
  process.exitCode = 2;
}
