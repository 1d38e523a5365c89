import { randomUUID } from "node:crypto";
import { createBudgets } from "@millrace/admission";
import { lineTopic, type Prediction } from "@millrace/contracts";
import { type Clock, type Log, sleep, withDeadline } from "@millrace/runtime";
import type { VersionModel } from "@millrace/serving";
import type { Broker, OutputRecord } from "@millrace/stream";
import type { Answered } from "./predict.ts";

/** Answers to direct calls on their way to `LINE.predictions`. Nobody waits for it. */
export interface PredictionLog {
  /** Takes the rows of one answer, or drops and counts them. Copies what it keeps. */
  offer(answered: Answered): void;
  /** Rows since the start of the process. */
  readonly counts: { readonly logged: number; readonly dropped: number };
  /** Sends what is held, as far as that goes within the time. */
  stop(deadlineMs: number): Promise<void>;
}

export interface PredictionLogPorts {
  readonly broker: Pick<Broker, "send" | "offsets">;
  readonly clock: Clock;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
}

/** Rows held per line; beyond them new ones are dropped. */
const HELD_MAX = 20_000;
/** What is above is dropped, so that the log never takes more than a small part of a core. */
const ROWS_PER_SECOND = { perSecond: 10_000, burst: 10_000, callersMax: 1 };
const SEND_RECORDS = 1_000;
const SEND_EVERY_MS = 100;
/** A line that cannot be logged is left alone for so long, and its oldest rows go after so many failures in a row. */
const RETRY_MS = 1_000;
const FAILURES_MAX = 30;

interface Held {
  readonly prediction: Omit<Prediction, "values">;
  readonly values: Float32Array;
}

/** One line's rows, and how sending them goes. */
interface Queue {
  readonly line: string;
  rows: Held[];
  failures: number;
  notBefore: number;
}

export function startPredictionLog({ broker, clock, now, log }: PredictionLogPorts): PredictionLog {
  const stopped = new AbortController();
  const budget = createBudgets(ROWS_PER_SECOND);
  const queues = new Map<string, Queue>();
  let logged = 0;
  let dropped = 0;

  const send = async (queue: Queue): Promise<void> => {
    const topic = lineTopic(queue.line, "predictions");
    const batch = queue.rows.slice(0, SEND_RECORDS);
    try {
      const partitions = (await broker.offsets(topic)).length;
      await broker.send(batch.map((one) => recordOf(one, topic, partitions)));
      logged += batch.length;
      if (queue.failures > 0) log.info({ line: queue.line }, "direct calls are logged again");
      queue.failures = 0;
    } catch (error) {
      if (queue.failures++ === 0)
        log.warn({ line: queue.line, err: error }, "direct calls cannot be logged now");
      queue.notBefore = now() + RETRY_MS;
      if (queue.failures < FAILURES_MAX) return;
      dropped += batch.length;
    }
    queue.rows = queue.rows.slice(batch.length);
  };

  const sendAll = async (): Promise<void> => {
    for (const queue of queues.values()) {
      while (queue.rows.length > 0 && queue.notBefore <= now() && !stopped.signal.aborted) await send(queue);
    }
  };

  const running = (async () => {
    while (!stopped.signal.aborted) {
      await sleep(SEND_EVERY_MS, stopped.signal);
      await sendAll();
    }
  })();

  return {
    get counts() {
      return { logged, dropped };
    },
    offer: (answered) => {
      const { line } = answered;
      const rows = answered.scores.length;
      let queue = queues.get(line);
      if (queue === undefined) queues.set(line, (queue = { line, rows: [], failures: 0, notBefore: 0 }));
      if (queue.rows.length + rows > HELD_MAX || budget.spend("", rows, now()) > 0) dropped += rows;
      else queue.rows.push(...heldRows(answered, clock.now()));
    },
    stop: async (deadlineMs) => {
      stopped.abort();
      const sending = running.then(async () => {
        for (const queue of queues.values())
          while (queue.rows.length > 0 && queue.failures === 0) await send(queue);
      });
      // While Kafka is away what is held is lost, and was never promised.
      await withDeadline(deadlineMs, "logging the last calls", sending).catch(() => {});
    },
  };
}

function heldRows(answered: Answered, atMs: number): Held[] {
  const { id: given, handle, arm, input, scores, interleaved, traceId } = answered;
  const id = given === "" ? randomUUID() : given;
  const rows = scores.length;
  // The request's bytes go when it is answered.
  const matrix = (input.data as Float32Array).slice();
  const width = matrix.length / rows;
  return Array.from(scores, (ownScore, row) => {
    const isChallengers = interleaved?.teams[row] === "challenger";
    const of: VersionModel = isChallengers ? interleaved.challenger.of : handle.of;
    return {
      values: matrix.subarray(row * width, (row + 1) * width),
      prediction: {
        id: rows === 1 ? id : `${id}#${row}`,
        time: atMs,
        score: isChallengers ? (interleaved.challenger.scores[row] as number) : ownScore,
        version: of.version,
        model: of.artifactDigest,
        features: of.featureDigest,
        shadows: {},
        predictedAtMs: atMs,
        dataset: of.datasetDigest,
        arm: interleaved?.teams[row] ?? arm.role,
        propensity: arm.propensity,
        ...(interleaved !== null && { shown: (interleaved.shown.data as Float32Array)[row] as number }),
        ...(traceId === "" ? {} : { trace: traceId }),
        origin: "call" as const,
      },
    };
  });
}

function recordOf({ prediction, values }: Held, topic: string, partitions: number): OutputRecord {
  const known = Array.from(values, (value) => (Number.isNaN(value) ? null : value));
  return {
    topic,
    partition: hashOf(prediction.id) % partitions,
    key: prediction.id,
    value: JSON.stringify({ ...prediction, values: known }),
  };
}

/** FNV-1a, 32 bits: spreads ids over partitions. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
