import { HEADERS, INTAKE_RECORD_BYTES_MAX, lineTopic } from "@millrace/contracts";
import {
  type AcceptedWriter,
  Acceptor,
  type AcceptorSnapshot,
  type AdmittedEvent,
  createAcceptedWriter,
  HEADER_BYTES_MAX,
  KEY_BYTES_MAX,
  type Rejection,
} from "@millrace/events";
import { eventLog, type LineDefinition } from "@millrace/lines";
import { type Clock, systemClock } from "@millrace/runtime";
import type { CheckpointStore, Emit, StepDefinition, StreamRecord, Task } from "@millrace/stream";
import type { IngestMetrics } from "./metrics.ts";
import { needsOutside, type Outside, Preparation } from "./outside.ts";

/** What a partition's task knows; part of its checkpoint, so that counts and duplicates are exact over a crash. */
interface AcceptState {
  readonly acceptor: AcceptorSnapshot;
  readonly replayed: number;
}

/** What the accept step has done since its beginning, over the partitions given. */
export interface AcceptProgress {
  /** received.STREAM, accepted.STREAM, rejected, rejected.REASON, replayed. */
  readonly counts: Readonly<Record<string, number>>;
  /** Newest event time accepted, ms. */
  readonly streamTimeMs: number;
  /** By stream: the least watermark over the partitions that are not idle, ms; null: no partition has one yet. */
  readonly watermarks: Readonly<Record<string, number | null>>;
  /** Partitions that have had no record for `IDLE_MS`. */
  readonly idlePartitions: readonly number[];
  /** What accepting waits for, if it does. */
  readonly waitsFor: string | null;
}

export interface AcceptStep {
  readonly definition: StepDefinition;
  progress(partitions: readonly number[]): AcceptProgress;
}

export interface AcceptOptions {
  /** For a line whose events need it (`needsOutside`). */
  readonly outside?: Outside;
  readonly clock?: Clock;
}

const CHECKPOINT_EVERY_MS = 2_000;
/** A partition without a record for so long, in wall time, holds no watermark back. */
const IDLE_MS = 60_000;
/** Records of which all bytes may be in memory twice: as they came, and decoded. */
const OUTSIDE_RECORDS_MAX = 256;

/**
 * The step that reads the topics of a line's streams and writes each record either to `LINE.events`, as an accepted
 * event with the producer's key, or to `LINE.rejected`, as it came, with the reason. Where the producer's topic is the
 * line's event log itself, only the refusals are written. An id counts as taken once its event is accepted, so that a
 * refused event can be corrected and sent again.
 *
 * What the object store or a schema registry says may change: where a decision rests on it, outputs are held until
 * the decision is in a checkpoint, so that a replay cannot decide otherwise. Throws a RangeError for a line that needs
 * something from outside when `outside` is not given.
 */
export function createAcceptStep(
  line: LineDefinition,
  checkpoints: CheckpointStore,
  metrics: IngestMetrics,
  { outside, clock = systemClock }: AcceptOptions = {},
): AcceptStep {
  const isOutside = needsOutside(line);
  if (isOutside && outside === undefined) {
    throw new RangeError(`events of line "${line.name}" need the object store or a schema registry`);
  }
  const rejected = lineTopic(line.name, "rejected");
  const tasks = new Map<number, AcceptTask>();
  return {
    definition: {
      name: `${line.name}.accept`,
      topics: Object.values(line.streams).map((stream) => stream.topic),
      outputs: eventLog(line).direct ? [rejected] : [eventLog(line).topic, rejected],
      checkpoints,
      checkpointEveryMs: CHECKPOINT_EVERY_MS,
      ...(isOutside ? { holdOutputs: true, recordsMax: OUTSIDE_RECORDS_MAX } : {}),
      createTask: (partition, snapshot, stopping) => {
        const from = { line, snapshot: snapshot as AcceptState | null, metrics, clock };
        const task = new AcceptTask(from, isOutside && outside !== undefined ? { outside, stopping } : null);
        tasks.set(partition, task);
        return task;
      },
    },
    progress: (partitions) => {
      const owned = partitions.flatMap((partition) => {
        const task = tasks.get(partition);
        return task === undefined ? [] : [{ partition, task }];
      });
      return summary(line, owned, clock.now());
    },
  };
}

function summary(
  line: LineDefinition,
  owned: readonly { readonly partition: number; readonly task: AcceptTask }[],
  nowMs: number,
): AcceptProgress {
  const counts: Record<string, number> = {};
  for (const { task } of owned) {
    for (const [name, count] of Object.entries(task.counts())) counts[name] = (counts[name] ?? 0) + count;
  }
  const isIdle = ({ task }: (typeof owned)[number]): boolean => nowMs - task.newestAtMs >= IDLE_MS;
  const busy = owned.filter((one) => !isIdle(one));
  const watermark = (stream: string): number | null => {
    const marks = busy.map(({ task }) => task.acceptor.watermarkMs(stream)).filter(Number.isFinite);
    return marks.length === 0 ? null : Math.min(...marks);
  };
  return {
    counts,
    streamTimeMs: owned.reduce((newest, { task }) => Math.max(newest, task.acceptor.streamTimeMs), 0),
    watermarks: Object.fromEntries(Object.keys(line.streams).map((stream) => [stream, watermark(stream)])),
    idlePartitions: owned.filter(isIdle).map(({ partition }) => partition),
    waitsFor: owned.find(({ task }) => task.waitsFor !== null)?.task.waitsFor ?? null,
  };
}

interface AcceptFrom {
  readonly line: LineDefinition;
  readonly snapshot: AcceptState | null;
  readonly metrics: IngestMetrics;
  readonly clock: Clock;
}

class AcceptTask implements Task {
  readonly acceptor: Acceptor;
  /** Wall-clock ms of the newest record. */
  newestAtMs: number;
  #replayed: number;
  readonly #line: string;
  readonly #metrics: IngestMetrics;
  readonly #clock: Clock;
  readonly #preparation: Preparation | null;
  readonly #rejectedTopic: string;
  /** null: the producer's topic is the event log. */
  readonly #eventsTopic: string | null;
  /** By stream number. */
  readonly #streams: readonly Stream[];
  readonly #byTopic: ReadonlyMap<string, Stream>;

  constructor(
    { line, snapshot, metrics, clock }: AcceptFrom,
    elsewhere: { readonly outside: Outside; readonly stopping: AbortSignal } | null,
  ) {
    const log = eventLog(line);
    this.acceptor = new Acceptor(line, snapshot?.acceptor ?? null);
    this.newestAtMs = clock.now();
    this.#replayed = snapshot?.replayed ?? 0;
    this.#line = line.name;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#preparation =
      elsewhere === null ? null : new Preparation(line, this.acceptor, elsewhere.outside, elsewhere.stopping);
    this.#rejectedTopic = lineTopic(line.name, "rejected");
    this.#eventsTopic = log.direct ? null : log.topic;
    this.#streams = Object.entries(line.streams).map(([name, { topic }]) => ({
      name,
      topic,
      write: createAcceptedWriter(line, name),
      headers: { [HEADERS.stream]: Buffer.from(name) },
    }));
    this.#byTopic = new Map(this.#streams.map((stream) => [stream.topic, stream]));
  }

  get waitsFor(): string | null {
    return this.#preparation?.waitsFor ?? null;
  }

  process(records: readonly StreamRecord[], emit: Emit): void | Promise<void> {
    this.newestAtMs = this.#clock.now();
    if (this.#preparation !== null) return this.#processPrepared(records, this.#preparation, emit);
    for (const record of records) this.#finish(record, this.acceptor.accept(record), emit);
  }

  async #processPrepared(
    records: readonly StreamRecord[],
    preparation: Preparation,
    emit: Emit,
  ): Promise<void> {
    const prepared = await preparation.prepare(records);
    records.forEach((record, i) => {
      const one = prepared[i] ?? null;
      const outcome =
        one === null ? this.acceptor.accept(record) : this.acceptor.admit(record, one.outcome, one.claims);
      this.#finish(record, outcome, emit);
    });
  }

  counts(): Readonly<Record<string, number>> {
    const counts = this.acceptor.counts();
    return this.#replayed === 0 ? counts : { ...counts, replayed: this.#replayed };
  }

  snapshot(): AcceptState {
    return { acceptor: this.acceptor.snapshot(), replayed: this.#replayed };
  }

  #finish(record: StreamRecord, outcome: AdmittedEvent | Rejection, emit: Emit): void {
    if (record.header(HEADERS.replayOf) !== undefined) this.#replayed++;
    if (outcome.kind === "rejected") return this.#reject(record, outcome, emit);
    const stream = this.#streams[outcome.streamIndex] as Stream;
    if (this.#eventsTopic !== null) {
      emit(record, this.#eventsTopic, {
        key: record.key,
        value: outcome.event === null ? stream.write(outcome.row) : JSON.stringify(outcome.event),
        headers: stream.headers,
      });
    }
    this.#metrics.count(this.#line, stream.name, null);
  }

  #reject(record: StreamRecord, { reason, detail }: Rejection, emit: Emit): void {
    const { name } = this.#byTopic.get(record.topic) as Stream;
    const kept = fit(record);
    emit(record, this.#rejectedTopic, {
      key: kept.key,
      value: kept.value,
      headers: {
        ...kept.headers,
        [HEADERS.stream]: name,
        [HEADERS.reason]: reason,
        [HEADERS.detail]: kept.complete ? detail : `${detail} (the record is not kept as a whole)`,
        [HEADERS.origin]: `${record.topic}/${record.partition}/${record.offset}`,
      },
    });
    this.#metrics.count(this.#line, name, reason);
  }
}

/** How events of a stream are written. */
interface Stream {
  readonly name: string;
  readonly topic: string;
  readonly write: AcceptedWriter;
  readonly headers: Readonly<Record<string, Uint8Array>>;
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
