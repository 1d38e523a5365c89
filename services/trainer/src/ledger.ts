import { canonicalJson, type Decision, HEADERS, MESH_TOPICS, type Progress } from "@millrace/contracts";
import { currentTraceparent, type Log } from "@millrace/runtime";
import type { Broker, OutputRecord } from "@millrace/stream";

const WAITING_MAX = 1_000;

/** Writes what the trainer decides and does to the mesh's topics, in order. */
export interface Ledger {
  /** Resolves when the decision is acknowledged. Rejects when Kafka stays away for longer than its client waits. */
  decide(decision: Decision): Promise<void>;
  /** Does not wait: progress is for people. While Kafka is away the newest 1,000 are kept. */
  progress(progress: Progress): void;
  stop(): Promise<void>;
}

/** Opens the ledger. Sends do not overlap, so that their order is kept. */
export async function openLedger(broker: Broker, log: Log): Promise<Ledger> {
  await broker.ensureTopics([MESH_TOPICS.decisions, MESH_TOPICS.progress], 1);
  const waiting: OutputRecord[] = [];
  let sending: Promise<void> = Promise.resolve();

  const record = (topic: string, line: string, value: unknown): OutputRecord => {
    const traceparent = currentTraceparent();
    return {
      topic,
      partition: 0,
      key: line,
      value: canonicalJson(value),
      headers: traceparent === "" ? {} : { [HEADERS.traceparent]: traceparent },
    };
  };
  const send = (records: () => readonly OutputRecord[]): Promise<void> => {
    const sent = sending.then(() => broker.send(records()));
    sending = sent.catch(() => {}); // the caller has the error; the next send goes on
    return sent;
  };

  return {
    decide: (decision) => {
      const records = [record(MESH_TOPICS.decisions.name, decision.line, decision)];
      return send(() => records);
    },
    progress: (progress) => {
      waiting.push(record(MESH_TOPICS.progress.name, progress.line, progress));
      if (waiting.length > WAITING_MAX) waiting.shift();
      if (waiting.length > 1) return; // the send that is under way, or waits, takes it along
      send(() => waiting.splice(0)).catch((error: unknown) =>
        log.warn({ err: error }, "progress could not be written"),
      );
    },
    stop: () => sending,
  };
}
