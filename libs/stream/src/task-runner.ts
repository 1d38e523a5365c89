import { formatPosition, HEADERS, parsePosition } from "@millrace/contracts";
import { SpanKind, sleep, withSpan } from "@millrace/runtime";
import { type Batch, headerText, type OutputRecord, type Producer, type StreamRecord } from "./broker.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { Merge } from "./merge.ts";
import { Seen } from "./seen.ts";
import type { Emit, StepDefinition, StepPorts, Task } from "./step.ts";

const IDLE_MS = 20;
const BUFFERED_RECORDS_MAX = 4_000;
/** A traceparent of version 00 has 55 characters; strangers' headers can be of any size and are not passed on. */
const TRACEPARENT_BYTES_MAX = 256;

/** One partition of a step: buffers batches, runs the task, writes its outputs, saves checkpoints (S1 to S4). */
export class TaskRunner {
  readonly partition: number;
  readonly #definition: StepDefinition;
  readonly #ports: StepPorts;
  readonly #producer: Producer;
  readonly #task: Task;
  readonly #seen: Seen;
  readonly #offsets: Map<string, number>;
  readonly #ends = new Map<string, number>();
  readonly #merge: Merge;
  readonly #stop = new AbortController();
  #wake: () => void = () => {};
  #room: (() => void)[] = [];
  #busy = false;
  #progressAtMs: number;
  #running: Promise<void> = Promise.resolve();

  constructor(
    partition: number,
    definition: StepDefinition,
    ports: StepPorts,
    producer: Producer,
    topics: readonly string[],
    checkpoint: Checkpoint | null,
  ) {
    this.partition = partition;
    this.#definition = definition;
    this.#ports = ports;
    this.#producer = producer;
    this.#task = definition.createTask(partition, checkpoint?.state ?? null, this.#stop.signal);
    this.#seen = new Seen(checkpoint?.seen);
    this.#offsets = new Map(topics.map((topic) => [topic, checkpoint?.offsets[topic] ?? 0]));
    this.#merge = new Merge(this.#offsets);
    this.#progressAtMs = ports.clock.now();
  }

  /** Next offset to read of a topic. */
  position(topic: string): number {
    return this.#offsets.get(topic) ?? 0;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Takes a batch; resolves when there is room for another (S4). */
  async offer(batch: Batch): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#ends.set(batch.topic, batch.endOffset);
    this.#merge.add(batch);
    this.#wake();
    while (!this.#stop.signal.aborted && this.#merge.buffered(batch.topic) > BUFFERED_RECORDS_MAX) {
      await new Promise<void>((resolve) => this.#room.push(resolve));
    }
  }

  lag(): number {
    let lag = 0;
    for (const [topic, end] of this.#ends) lag += Math.max(0, end - this.position(topic));
    return lag;
  }

  /** Tells the runner where a topic ends, as read from the broker. */
  noteEnd(topic: string, end: number): void {
    this.#ends.set(topic, Math.max(end, this.#ends.get(topic) ?? 0));
  }

  /** ms without progress although there is something to read; 0 while the task itself is at work. */
  stalledMs(): number {
    if (this.#busy || this.lag() === 0) {
      this.#progressAtMs = this.#ports.clock.now();
      return 0;
    }
    return this.#ports.clock.now() - this.#progressAtMs;
  }

  /** Finishes the records in hand, saves a checkpoint and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    for (const resolve of this.#room.splice(0)) resolve();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      await this.#loop();
    } catch (error) {
      // A task that stopped waiting has changed its state in part: nothing is saved, the gap is replayed (S2).
      if (this.#stop.signal.aborted && error === this.#stop.signal.reason) return;
      this.#ports.fail(error);
    }
  }

  async #loop(): Promise<void> {
    const { clock } = this.#ports;
    const signal = this.#stop.signal;
    let sending: Promise<void> = Promise.resolve();
    let saving: Promise<void> = Promise.resolve();
    let savedAtMs = clock.now();
    let dirty = false;
    while (!signal.aborted) {
      const taken = this.#merge.take(this.#definition.recordsMax ?? 2_000, clock.now());
      if (taken.length > 0) {
        for (const resolve of this.#room.splice(0)) resolve();
        const outputs = await this.#process(taken).catch(async (error: unknown) => {
          await Promise.allSettled([sending, saving]);
          throw error;
        });
        await sending;
        sending = this.#producer.send(outputs);
        sending.catch(() => {}); // awaited before the next send, or below
        dirty = true;
      }
      if (dirty && clock.now() - savedAtMs >= this.#definition.checkpointEveryMs) {
        await Promise.all([sending, saving]);
        saving = this.#save();
        saving.catch(() => {}); // awaited before the next save, or below
        savedAtMs = clock.now();
        dirty = false;
      }
      // An event-loop turn between chunks lets heartbeats, requests and timers through.
      if (taken.length > 0) await new Promise(setImmediate);
      else await this.#idle();
    }
    await Promise.all([sending, saving]);
    if (dirty) await this.#save();
  }

  async #idle(): Promise<void> {
    const turn = new AbortController();
    this.#wake = () => turn.abort();
    await sleep(IDLE_MS, turn.signal);
    this.#wake = () => {};
  }

  async #process(taken: readonly StreamRecord[]): Promise<OutputRecord[]> {
    const fresh = taken.filter((record) => this.#isNew(record));
    const outputs: OutputRecord[] = [];
    let cause: StreamRecord | null = null;
    let counts = new Map<string, number>();
    const emit: Emit = (record, topic, output) => {
      if (record !== cause) {
        cause = record;
        counts = new Map();
      }
      const index = counts.get(topic) ?? 0;
      counts.set(topic, index + 1);
      const { topic: source, partition, offset } = record;
      const traceparent = record.headers[HEADERS.traceparent];
      outputs.push({
        topic,
        partition: this.partition,
        key: output.key,
        value: output.value,
        headers: {
          ...(traceparent === undefined || traceparent.length > TRACEPARENT_BYTES_MAX
            ? {}
            : { [HEADERS.traceparent]: traceparent }),
          ...output.headers,
          [HEADERS.source]: formatPosition({ topic: source, partition, offset, index }),
        },
      });
    };
    this.#busy = true;
    await this.#traced(fresh, () => this.#task.process(fresh, emit));
    this.#busy = false;
    this.#progressAtMs = this.#ports.clock.now();
    for (const record of taken) this.#offsets.set(record.topic, record.offset + 1);
    return outputs;
  }

  /** A producer that traces an event sends a traceparent: the batch that holds it becomes a span of that trace. */
  async #traced(records: readonly StreamRecord[], work: () => void | Promise<void>): Promise<void> {
    const traced = records.find((record) => record.headers[HEADERS.traceparent] !== undefined);
    if (traced === undefined) return work();
    await withSpan(
      `process ${traced.topic}`,
      {
        traceparent: headerText(traced, HEADERS.traceparent),
        kind: SpanKind.CONSUMER,
        attributes: {
          "messaging.system": "kafka",
          "messaging.operation.name": "process",
          "messaging.operation.type": "process",
          "messaging.destination.name": traced.topic,
          "messaging.destination.partition.id": String(traced.partition),
          "messaging.kafka.offset": traced.offset,
          "messaging.consumer.group.name": groupName(this.#definition.name),
          "messaging.batch.message_count": records.length,
        },
      },
      async () => work(),
    );
  }

  #isNew(record: StreamRecord): boolean {
    if (this.#definition.foreign === true) return true;
    const text = headerText(record, HEADERS.source);
    if (text === undefined) return true;
    const position = parsePosition(text);
    return position === null || this.#seen.advance(position);
  }

  #save(): Promise<void> {
    return this.#definition.checkpoints.save(this.partition, {
      offsets: Object.fromEntries(this.#offsets),
      seen: this.#seen.snapshot(),
      state: this.#task.snapshot(),
    });
  }
}

/** Consumer group of a step. */
export function groupName(step: string): string {
  return `millrace.${step}`;
}
