import { HEADERS, INTAKE_RECORD_BYTES_MAX, lineTopic } from "@millrace/contracts";
import {
  createEventReader,
  type DedupSnapshot,
  DedupWindow,
  type EventReader,
  HEADER_BYTES_MAX,
  KEY_BYTES_MAX,
  quote,
  type Rejection,
  rejection,
} from "@millrace/events";
import type { LineDefinition } from "@millrace/lines";
import type { CheckpointStore, Emit, StepDefinition, StreamRecord, Task } from "@millrace/stream";
import type { IngestMetrics } from "./metrics.ts";

/** What a partition's task knows; part of its checkpoint, so that counts and duplicates are exact over a crash. */
interface AcceptState {
  /** received.STREAM, accepted.STREAM, rejected, rejected.REASON, replayed. */
  readonly counts: Readonly<Record<string, number>>;
  /** Newest event time accepted, ms. */
  readonly streamTimeMs: number;
  readonly dedup: Readonly<Record<string, DedupSnapshot>>;
}

/** What the accept step has done since its beginning, over the partitions given. */
export interface AcceptProgress {
  readonly counts: Readonly<Record<string, number>>;
  readonly streamTimeMs: number;
}

export interface AcceptStep {
  readonly definition: StepDefinition;
  progress(partitions: readonly number[]): AcceptProgress;
}

const CHECKPOINT_EVERY_MS = 2_000;

/**
 * The step that reads the topics of a line's streams and writes each record either to `LINE.events`, as an
 * accepted event with the producer's key, or to `LINE.rejected`, as it came, with the reason. An id counts as
 * taken once its event is accepted, so that a refused event can be corrected and sent again.
 */
export function createAcceptStep(
  line: LineDefinition,
  checkpoints: CheckpointStore,
  metrics: IngestMetrics,
): AcceptStep {
  const tasks = new Map<number, AcceptTask>();
  return {
    definition: {
      name: `${line.name}.accept`,
      topics: Object.values(line.streams).map((stream) => stream.topic),
      foreign: true,
      checkpoints,
      checkpointEveryMs: CHECKPOINT_EVERY_MS,
      createTask: (partition, snapshot) => {
        const task = new AcceptTask(line, snapshot as AcceptState | null, metrics);
        tasks.set(partition, task);
        return task;
      },
    },
    progress: (partitions) => {
      const counts: Record<string, number> = {};
      let streamTimeMs = 0;
      for (const partition of partitions) {
        const task = tasks.get(partition);
        if (task === undefined) continue;
        for (const [name, count] of task.counts) counts[name] = (counts[name] ?? 0) + count;
        streamTimeMs = Math.max(streamTimeMs, task.streamTimeMs);
      }
      return { counts, streamTimeMs };
    },
  };
}

interface Intake {
  readonly stream: string;
  readonly read: EventReader;
  readonly dedup: DedupWindow;
}

class AcceptTask implements Task {
  readonly counts: Map<string, number>;
  streamTimeMs: number;
  readonly #line: string;
  readonly #intakes: ReadonlyMap<string, Intake>;
  readonly #metrics: IngestMetrics;

  constructor(line: LineDefinition, snapshot: AcceptState | null, metrics: IngestMetrics) {
    this.#line = line.name;
    this.#metrics = metrics;
    this.counts = new Map(Object.entries(snapshot?.counts ?? {}));
    this.streamTimeMs = snapshot?.streamTimeMs ?? 0;
    this.#intakes = new Map(
      Object.entries(line.streams).map(([stream, { topic }]) => [
        topic,
        {
          stream,
          read: createEventReader(line, stream),
          dedup: new DedupWindow(undefined, snapshot?.dedup[stream]),
        },
      ]),
    );
  }

  process(records: readonly StreamRecord[], emit: Emit): void {
    for (const record of records) {
      const intake = this.#intakes.get(record.topic) as Intake;
      const { stream, read, dedup } = intake;
      this.#count(`received.${stream}`);
      if (record.headers[HEADERS.replayOf] !== undefined) this.#count("replayed");
      const outcome = read(record);
      if (outcome.kind === "rejected") {
        this.#reject(record, stream, outcome, emit);
        continue;
      }
      const { event } = outcome;
      if (!dedup.admit(event.id)) {
        const found = `an event of stream "${stream}" with id ${quote(event.id)} was accepted before`;
        this.#reject(record, stream, rejection("duplicate-id", found), emit);
        continue;
      }
      emit(record, lineTopic(this.#line, "events"), {
        key: record.key,
        value: JSON.stringify(event),
        headers: { [HEADERS.stream]: stream },
      });
      this.streamTimeMs = Math.max(this.streamTimeMs, event.time);
      this.#count(`accepted.${stream}`);
      this.#metrics.count(this.#line, stream, null);
    }
  }

  snapshot(): AcceptState {
    return {
      counts: Object.fromEntries(this.counts),
      streamTimeMs: this.streamTimeMs,
      dedup: Object.fromEntries(
        [...this.#intakes.values()].map(({ stream, dedup }) => [stream, dedup.snapshot()]),
      ),
    };
  }

  #reject(record: StreamRecord, stream: string, { reason, detail }: Rejection, emit: Emit): void {
    const kept = fit(record);
    emit(record, lineTopic(this.#line, "rejected"), {
      key: kept.key,
      value: kept.value,
      headers: {
        ...kept.headers,
        [HEADERS.stream]: stream,
        [HEADERS.reason]: reason,
        [HEADERS.detail]: kept.complete ? detail : `${detail} (the record is not kept as a whole)`,
        [HEADERS.origin]: `${record.topic}/${record.partition}/${record.offset}`,
      },
    });
    this.#count("rejected");
    this.#count(`rejected.${reason}`);
    this.#metrics.count(this.#line, stream, reason);
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }
}

/**
 * What of a rejected record is kept: all of it, except where only compression made it small enough for the
 * broker. Of such a record the value is cut, and an outsized key or headers are left out.
 */
function fit({ key, value, headers }: StreamRecord): Kept {
  const headerBytes = Object.entries(headers).reduce(
    (sum, [name, { length }]) => sum + name.length + length,
    0,
  );
  const bytes = (key?.length ?? 0) + (value?.length ?? 0) + headerBytes;
  if (bytes <= INTAKE_RECORD_BYTES_MAX) return { key, value, headers, complete: true };
  return {
    key: key !== null && key.length <= KEY_BYTES_MAX ? key : null,
    value: value?.subarray(0, INTAKE_RECORD_BYTES_MAX) ?? null,
    headers: headerBytes <= HEADER_BYTES_MAX ? headers : {},
    complete: false,
  };
}

interface Kept extends Pick<StreamRecord, "key" | "value" | "headers"> {
  readonly complete: boolean;
}
