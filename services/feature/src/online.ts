import type { featureApi } from "@millrace/contracts";
import {
  createEventReader,
  createEventRow,
  type EventReader,
  type EventRow,
  fillRow,
  Rejection,
  readEntity,
} from "@millrace/events";
import type { FieldDefinition, StreamDefinition } from "@millrace/lines";
import type { Handlers } from "@millrace/rpc";
import { type Clock, RpcError } from "@millrace/runtime";
import { partitionOf } from "@millrace/stream";
import type { ComputeTask } from "./compute.ts";
import type { FeatureLine } from "./line.ts";

const QUERIES_MAX = 1_000;

interface Query {
  readonly eventJson: string;
  readonly entityJson: string;
  readonly timeMs: bigint;
}

interface Answer {
  readonly values: number[];
  readonly updatedMs: bigint;
  readonly ageMs: bigint;
  readonly asOfMs: number;
}

/** The handlers of the online feature store: the same engine as the stream, read without leaving a trace. */
export function createOnlineHandlers(
  lines: () => ReadonlyMap<string, FeatureLine>,
  clock: Clock,
): Handlers<typeof featureApi.FeatureService> {
  const desks = new WeakMap<FeatureLine, Desk>();
  const deskOf = (name: string): Desk => {
    const line = lines().get(name);
    if (line === undefined) {
      throw new RpcError(
        "notFound",
        `line "${name}" is not applied: see \`millrace lines\`, then \`millrace apply\``,
      );
    }
    const desk = desks.get(line) ?? new Desk(line, clock);
    desks.set(line, desk);
    return desk;
  };

  return {
    getVector: ({ line: name, ...query }) => {
      const desk = deskOf(name);
      const { asOfMs, ...answer } = desk.answer(query);
      return { names: [...desk.names], featureDigest: desk.featureDigest, asOfMs: BigInt(asOfMs), ...answer };
    },

    getVectors: ({ line: name, queries, withoutNames }) => {
      if (queries.length > QUERIES_MAX) {
        throw new RpcError(
          "invalidArgument",
          `${queries.length} queries at once: ask for at most ${QUERIES_MAX}`,
        );
      }
      const desk = deskOf(name);
      const answers = queries.map((query, i) => {
        try {
          return desk.answer(query);
        } catch (error) {
          throw error instanceof RpcError ? new RpcError(error.code, `query ${i}: ${error.message}`) : error;
        }
      });
      return {
        names: withoutNames ? [] : [...desk.names],
        featureDigest: desk.featureDigest,
        asOfMs: BigInt(answers.reduce((newest, { asOfMs }) => Math.max(newest, asOfMs), 0)),
        answers: answers.map(({ values, updatedMs, ageMs }) => ({ values, updatedMs, ageMs })),
      };
    },
  };
}

/** Answers queries about one line. */
class Desk {
  readonly #line: FeatureLine;
  readonly #clock: Clock;
  readonly #stream: StreamDefinition;
  readonly #fields: readonly (readonly [name: string, field: FieldDefinition])[];
  readonly #read: EventReader;
  readonly #row: EventRow;

  constructor(line: FeatureLine, clock: Clock) {
    const { streams, predict } = line.applied.line;
    this.#line = line;
    this.#clock = clock;
    this.#stream = streams[predict.on] as StreamDefinition;
    this.#fields = Object.entries(this.#stream.fields);
    this.#read = createEventReader(line.applied.line, predict.on);
    this.#row = createEventRow(predict.on, this.#stream);
  }

  get names(): readonly string[] {
    return [...this.#line.computing.values()][0]?.computation.plan.names ?? [];
  }

  get featureDigest(): string {
    return this.#line.featureDigest;
  }

  /** Throws an RpcError that names what is wrong. */
  answer(query: Query): Answer {
    if ((query.eventJson === "") === (query.entityJson === "")) {
      throw new RpcError("invalidArgument", "give either event_json or entity_json");
    }
    const isEvent = query.eventJson !== "";
    const data = isEvent ? this.#event(query.eventJson) : this.#entity(query.entityJson);
    const { computation } = this.#taskOf(data);
    const now = computation.newestTimeMs + Math.max(0, this.#clock.now() - computation.newestAcceptedAtMs);
    const asked = Number(query.timeMs);
    const timeMs = asked !== 0 ? asked : isEvent ? (data[this.#stream.time] as number) : now;
    // What is read from the time field, such as the hour, is then that of the question.
    const complete = isEvent ? data : { [this.#stream.time]: timeMs, ...data };
    fillRow(this.#row, this.#fields, complete, timeMs, this.#clock.now());
    const { engine, plan } = computation;
    const values = new Float64Array(plan.names.length);
    if (isEvent) engine.read(this.#row, values);
    else engine.readByKey(this.#row, values);
    const newest = new Float64Array(plan.tables.length);
    engine.newestTimes(this.#row, newest);
    let updatedMs = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < newest.length; i++) {
      if ((newest[i] as number) > updatedMs) updatedMs = newest[i] as number;
    }
    const isKnown = updatedMs > Number.NEGATIVE_INFINITY;
    return {
      values: Array.from(values),
      updatedMs: BigInt(isKnown ? updatedMs : 0),
      ageMs: BigInt(isKnown ? Math.max(0, Math.round(timeMs - updatedMs)) : -1),
      asOfMs: computation.newestTimeMs,
    };
  }

  #taskOf(data: Data): ComputeTask {
    const { name, partitions } = this.#line.applied.line;
    const key = this.#stream.key.map((field) => keyText(data[field])).join("|");
    const partition = partitionOf(key, partitions);
    const task = this.#line.computing.get(partition);
    if (task !== undefined && this.#line.compute.partitions().includes(partition)) return task;
    throw new RpcError(
      "unavailable",
      `partition ${partition} of "${name}" is starting, or another replica holds it: try again there`,
    );
  }

  #event(json: string): Data {
    const value = new TextEncoder().encode(json);
    const read = this.#read({ key: null, value, headers: {}, timestampMs: this.#clock.now() });
    if (read.kind !== "accepted") throw new RpcError("invalidArgument", `event_json: ${read.detail}`);
    return read.event.data;
  }

  #entity(json: string): Data {
    const read = readEntity(this.#stream, new TextEncoder().encode(json));
    if (read instanceof Rejection) throw new RpcError("invalidArgument", `entity_json: ${read.detail}`);
    return read;
  }
}

type Data = Parameters<typeof fillRow>[2];

/** As a producer writes it into the key of its record; a reference to a stored object is never part of a key. */
function keyText(value: Data[string] | undefined): string {
  return value === undefined || typeof value === "object" ? "" : String(value);
}
