import { randomUUID } from "node:crypto";
import { lineTopic, type Prediction } from "@millrace/contracts";
import { type Clock, type Log, sleep, withDeadline } from "@millrace/runtime";
import type { Broker, OutputRecord } from "@millrace/stream";
import type { Answered } from "./predict.ts";

/** Answers to direct calls on their way to `LINE.predictions`. Nobody waits for it. */
export interface PredictionLog {
  /** Takes the rows of one answer, or drops and counts them. Copies what it keeps. */
  offer(answered: Answered): void;
  /** Predictions since the start of the process. */
  readonly counts: { readonly logged: number; readonly dropped: number };
  /** Sends what is held, as far as that goes within the time. */
  stop(deadlineMs: number): Promise<void>;
}

export interface PredictionLogPorts {
  readonly broker: Pick<Broker, "send" | "offsets">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Rows held; beyond them new ones are dropped. */
const HELD_MAX = 20_000;
/** Rows per second: what is above is dropped, so that the log never takes more than a small part of a core. */
const PER_SECOND_MAX = 10_000;
const SEND_RECORDS = 1_000;
const SEND_EVERY_MS = 100;
const RETRY_MS = 1_000;

interface Held {
  readonly line: string;
  readonly prediction: Omit<Prediction, "values">;
  readonly values: Float32Array;
}

export function startPredictionLog({ broker, clock, log }: PredictionLogPorts): PredictionLog {
  const stopped = new AbortController();
  const partitions = new Map<string, number>();
  let held: Held[] = [];
  let logged = 0;
  let dropped = 0;
  let allowance = PER_SECOND_MAX;
  let reported = false;

  const partitionsOf = async (topic: string): Promise<number> => {
    let count = partitions.get(topic);
    if (count === undefined) partitions.set(topic, (count = (await broker.offsets(topic)).length));
    return count;
  };

  const send = async (): Promise<void> => {
    const records: OutputRecord[] = [];
    const batch = held.slice(0, SEND_RECORDS);
    for (const { line, prediction, values } of batch) {
      const topic = lineTopic(line, "predictions");
      const partition = hashOf(prediction.id) % (await partitionsOf(topic));
      const known = Array.from(values, (value) => (Number.isNaN(value) ? null : value));
      records.push({
        topic,
        partition,
        key: prediction.id,
        value: JSON.stringify({ ...prediction, values: known }),
      });
    }
    await broker.send(records);
    held = held.slice(batch.length);
    logged += batch.length;
    if (reported) log.info("direct calls are logged again");
    reported = false;
  };

  const running = (async () => {
    while (!stopped.signal.aborted) {
      await sleep(SEND_EVERY_MS, stopped.signal);
      allowance = Math.min(PER_SECOND_MAX, allowance + (PER_SECOND_MAX * SEND_EVERY_MS) / 1_000);
      try {
        while (held.length > 0 && !stopped.signal.aborted) await send();
      } catch (error) {
        partitions.clear();
        if (!reported)
          log.warn({ err: error }, "direct calls cannot be logged: trying again, dropping what is too much");
        reported = true;
        await sleep(RETRY_MS, stopped.signal);
      }
    }
  })();

  return {
    get counts() {
      return { logged, dropped };
    },
    offer: ({ line, id: given, handle, arm, teams, input, scores, traceId }) => {
      const rows = scores.length;
      if (held.length + rows > HELD_MAX || allowance < rows) {
        dropped += rows;
        return;
      }
      allowance -= rows;
      const { version, artifactDigest, featureDigest, datasetDigest } = handle.of;
      const atMs = clock.now();
      const id = given === "" ? randomUUID() : given;
      const matrix = (input.data as Float32Array).slice();
      const width = matrix.length / rows;
      for (let row = 0; row < rows; row++) {
        held.push({
          line,
          values: matrix.subarray(row * width, (row + 1) * width),
          prediction: {
            id: rows === 1 ? id : `${id}#${row}`,
            time: atMs,
            score: scores[row] as number,
            version,
            model: artifactDigest,
            features: featureDigest,
            shadows: {},
            predictedAtMs: atMs,
            dataset: datasetDigest,
            arm: teams?.[row] ?? arm.role,
            propensity: arm.propensity,
            ...(traceId === "" ? {} : { trace: traceId }),
            origin: "call",
          },
        });
      }
    },
    stop: async (deadlineMs) => {
      stopped.abort();
      const sending = running.then(async () => {
        while (held.length > 0) await send();
      });
      // While Kafka is away what is held is lost, and was never promised.
      await withDeadline(deadlineMs, "logging the last calls", sending).catch(() => {});
      dropped += held.length;
    },
  };
}

/** FNV-1a, 32 bits: spreads ids over partitions. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
