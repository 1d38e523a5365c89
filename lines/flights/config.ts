import { parseArgs } from "node:util";
import { SHOCK_DEFAULT_MS } from "./shock.ts";
import { END_MS, FIRST_MS } from "./stream.ts";

/** How the player plays, from its command line. */
export interface PlayOptions {
  /** Event time passes so many times faster than the clock. */
  readonly speed: number;
  /** Most events per second; null: as many as the speed asks for. */
  readonly rate: number | null;
  readonly fromMs: number;
  readonly untilMs: number;
  /** Event time from which the change of `shock.ts` holds; null: none is asked for. */
  readonly shockFromMs: number | null;
  /** Most events to send in this run. */
  readonly eventsMax: number;
  /** Wrong records to send among the right ones in this run. */
  readonly bad: number;
  /** Where the place in the stream is kept; null: nowhere, each run begins anew. */
  readonly progressFile: string | null;
}

export const HELP: string = `Plays the flights of January to June 2001 as events into Kafka.

  node lines/flights/play.ts [options]

  --speed FACTOR    event time passes so many times faster than the clock (10000)
  --rate EVENTS     most events per second, whatever the speed
  --from TIME       leave earlier flights out (2001-01-01T00:00Z)
  --until TIME      stop at this event time
  --shock[=TIME]    change the world at this event time (2001-01-06T00:00Z): see README.md
  --max-events N    stop after so many events
  --bad N           send so many malformed records among them
  --progress FILE   keep the place in the stream there, and go on from it
  --help            this text

Kafka is taken from MILLRACE_KAFKA_BROKERS (127.0.0.1:9092), MILLRACE_KAFKA_USERNAME and MILLRACE_KAFKA_PASSWORD.
Each second a JSON line on standard output says how far it is. SIGTERM and SIGINT stop it; its place is kept.
`;

/** The Kafka to play into. */
export interface KafkaSettings {
  readonly brokers: string[];
  /** null: the brokers ask for no credentials. */
  readonly sasl: { readonly username: string; readonly password: string } | null;
}

/** An option is unknown or its value is wrong. The message names it and what is expected. */
export class OptionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "OptionError";
  }
}

/** Reads the command line; null when it asks for help. Throws an OptionError. */
export function readPlayOptions(args: readonly string[]): PlayOptions | null {
  const values = parse(args.map((arg) => (arg === "--shock" ? "--shock=" : arg)));
  if (values.help === true) return null;
  return {
    speed: positive("--speed", values.speed) ?? 10_000,
    rate: positive("--rate", values.rate),
    fromMs: time("--from", values.from) ?? FIRST_MS,
    untilMs: Math.min(time("--until", values.until) ?? END_MS, END_MS),
    shockFromMs: values.shock === "" ? SHOCK_DEFAULT_MS : time("--shock", values.shock),
    eventsMax: positive("--max-events", values["max-events"]) ?? Number.POSITIVE_INFINITY,
    bad: positive("--bad", values.bad) ?? 0,
    progressFile: values.progress ?? null,
  };
}

/** Reads from the environment which Kafka to play into. */
export function readKafkaSettings(): KafkaSettings {
  const {
    MILLRACE_KAFKA_BROKERS: brokers = "127.0.0.1:9092",
    MILLRACE_KAFKA_USERNAME: username = "",
    MILLRACE_KAFKA_PASSWORD: password = "",
  } = process.env;
  return { brokers: brokers.split(","), sasl: username === "" ? null : { username, password } };
}

type Values = Partial<
  Record<"speed" | "rate" | "from" | "until" | "shock" | "max-events" | "bad" | "progress", string>
> & {
  readonly help?: boolean;
};

function parse(args: string[]): Values {
  try {
    return parseArgs({
      args,
      options: {
        speed: { type: "string" },
        rate: { type: "string" },
        from: { type: "string" },
        until: { type: "string" },
        shock: { type: "string" },
        "max-events": { type: "string" },
        bad: { type: "string" },
        progress: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new OptionError((error as Error).message);
  }
}

function positive(name: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) {
    throw new OptionError(`${name} is "${text}": a number above 0 is expected`);
  }
  return value;
}

function time(name: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Date.parse(/^\d{4}-\d{2}-\d{2}T\d{2}$/.test(text) ? `${text}:00Z` : text);
  if (Number.isNaN(value)) {
    throw new OptionError(`${name} is "${text}": a time such as 2001-01-05T06:00Z is expected`);
  }
  return value;
}
