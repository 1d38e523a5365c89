import { HEADERS } from "@millrace/contracts";
import { type Meter, SpanKind, sleep, withSpan } from "@millrace/runtime";
import { type Batch, FencedError, headerText, type StreamRecord } from "./broker.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { Merge } from "./merge.ts";
import type { Outputs } from "./outputs.ts";
import type { Saves } from "./saves.ts";
import type { Emit, StepDefinition, StepPorts, Task } from "./step.ts";
import { takeOver } from "./take-over.ts";
import { Wake } from "./wake.ts";

/** Records of a topic that may wait here, besides the batch that goes beyond it. */
const BUFFERED_RECORDS_MAX = 4_000;
/** Appended and not yet acknowledged; beyond it the task rests. */
const PENDING_BYTES_MAX = 2 * 1024 * 1024;
/** Held until a checkpoint is saved; beyond it the task rests, and the checkpoint is saved at once. */
const HELD_BYTES_MAX = 8 * 1024 * 1024;
const RECORDS_MAX = 2_000;
/** A task that does not wait holds the event loop: it gets half as many records where they took so long, ... */
const CHUNK_MS_MAX = 8;
/** ... but not fewer than these, and twice as many where they took no longer than that. */
const RECORDS_MIN = 64;
const CHUNK_MS_LOW = 2;
const FENCED_WAIT_MS = 3_000;
const FENCED_WAIT_MS_MAX = 60_000;

type Counter = ReturnType<Meter["createCounter"]>;

/** What a runner shares with the others of its step. */
export interface StepShare {
  readonly saves: Saves;
  /** Counts partitions that somebody else took over. */
  readonly fenced: Counter;
}

/** What there is from a take-over until the partition is lost or given up. */
interface Tenure {
  readonly task: Task;
  readonly emit: Emit;
  readonly merge: Merge;
  readonly outputs: Outputs;
  /** Aborts when the tenure ends, for the task that may wait. */
  readonly ending: AbortController;
  savedAtMs: number;
  /** Whether something was processed since then, and whether that save was none of a partition given up. */
  isDirty: boolean;
  needsLast: boolean;
  saving: Promise<void>;
}

/** One partition of a step: takes it over, buffers batches, runs the task, writes its outputs, saves checkpoints. */
export class TaskRunner {
  readonly partition: number;
  readonly #definition: StepDefinition;
  readonly #ports: StepPorts;
  readonly #share: StepShare;
  readonly #stop = new AbortController();
  readonly #wake = new Wake();
  /** By topic: the offset behind what the broker has delivered, and where the partition ends. */
  readonly #delivered = new Map<string, number>();
  readonly #ends = new Map<string, number>();
  /** Who waits for room or for a tenure. */
  #waiting: (() => void)[] = [];
  #merge: Merge | null = null;
  /** Whether batches may come in: what was delivered to an earlier tenure is read again before. */
  #isOpen = false;
  /** What a flush, a save or a reading has failed with, in the background. */
  #failure: { readonly error: unknown } | null = null;
  #recordsMax: number;
  #isTraced = false;
  #isBusy = false;
  #progressAtMs: number;
  #hasProgressed = false;
  #running: Promise<void> = Promise.resolve();

  constructor(partition: number, definition: StepDefinition, ports: StepPorts, share: StepShare) {
    this.partition = partition;
    this.#definition = definition;
    this.#ports = ports;
    this.#share = share;
    this.#recordsMax = definition.recordsMax ?? RECORDS_MAX;
    this.#progressAtMs = ports.clock.now();
  }

  /** Takes the partition over and begins; answers by topic where to read from (null: at the start). */
  start(): Promise<ReadonlyMap<string, number | null>> {
    const begun = Promise.withResolvers<ReadonlyMap<string, number | null>>();
    this.#running = this.#live(begun.resolve);
    return begun.promise;
  }

  /** Takes a batch; resolves when there is room for another (S4). */
  async offer(batch: Batch): Promise<void> {
    const { topic } = batch;
    while (!this.#isOpen && !this.#stop.signal.aborted) await this.#change();
    const merge = this.#merge;
    if (merge === null || this.#stop.signal.aborted) return;
    this.#delivered.set(topic, batch.nextOffset);
    this.noteEnd(topic, batch.endOffset);
    merge.add(batch);
    this.#wake.ring();
    while (this.#merge === merge && merge.buffered(topic) > BUFFERED_RECORDS_MAX) await this.#change();
  }

  /** Lets the runner look whether it may do something now. */
  ring(): void {
    this.#wake.ring();
  }

  lag(): number {
    let lag = 0;
    for (const [topic, end] of this.#ends) lag += Math.max(0, end - (this.#merge?.position(topic) ?? end));
    return lag;
  }

  /** Tells the runner where a topic ends, as read from the broker. */
  noteEnd(topic: string, end: number): void {
    this.#ends.set(topic, Math.max(end, this.#ends.get(topic) ?? 0));
  }

  /** ms without progress although there is something to read; 0 while the task itself is at work. */
  stalledMs(): number {
    if (this.#isBusy || !this.#isOpen || this.lag() === 0) {
      this.#progressAtMs = this.#ports.clock.now();
      return 0;
    }
    return this.#ports.clock.now() - this.#progressAtMs;
  }

  /** Whether it has processed anything. */
  hasProgressed(): boolean {
    return this.#hasProgressed;
  }

  /** Finishes the records in hand, saves a checkpoint and ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.ring();
    this.#changed();
    await this.#running;
  }

  /** One tenure after another, until the runner is stopped or fails. */
  async #live(onBegun: (positions: ReadonlyMap<string, number | null>) => void): Promise<void> {
    const { log, clock, fail, chance = Math.random, fencedWaitMs = FENCED_WAIT_MS } = this.#ports;
    let waitMs = fencedWaitMs;
    while (!this.#stop.signal.aborted) {
      const startedAtMs = clock.now();
      try {
        await this.#hold(onBegun);
      } catch (error) {
        // A task that stopped waiting has changed its state in part: nothing is saved, the gap is replayed (S2).
        if (this.#stop.signal.aborted && error === this.#stop.signal.reason) break;
        if (!(error instanceof FencedError)) {
          fail(error);
          break;
        }
        const { name } = this.#definition;
        this.#share.fenced.add(1, { step: name });
        log.warn({ err: error, step: name, partition: this.partition }, "partition lost to another owner");
      }
      if (clock.now() - startedAtMs > FENCED_WAIT_MS_MAX) waitMs = fencedWaitMs;
      // By then the group has told who has the partition; where it is still this member, it is taken over again.
      await sleep(waitMs * (0.5 + chance()), this.#stop.signal);
      waitMs = Math.min(2 * waitMs, FENCED_WAIT_MS_MAX);
    }
    onBegun(new Map());
  }

  /** One tenure: from the take-over to the stop. Rejects with a FencedError when somebody else took over. */
  async #hold(onBegun: (positions: ReadonlyMap<string, number | null>) => void): Promise<void> {
    const { topics, createTask } = this.#definition;
    const { broker, clock } = this.#ports;
    const ending = new AbortController();
    const end = (): void => ending.abort(this.#stop.signal.reason);
    this.#stop.signal.addEventListener("abort", end, { once: true });
    this.#failure = null;
    let outputs: Outputs | null = null;
    const onSent = (): void => {
      if (outputs?.hasFailed() === true) ending.abort();
      this.#wake.ring();
    };
    try {
      const taken = await takeOver(this.partition, this.#definition, broker, ending.signal, onSent);
      outputs = taken.outputs;
      const positions = new Map(topics.map((topic) => [topic, taken.checkpoint?.offsets[topic] ?? null]));
      const merge = new Merge(new Map(topics.map((topic) => [topic, positions.get(topic) ?? 0])));
      const task = createTask(this.partition, taken.checkpoint?.state ?? null, ending.signal);
      this.#merge = merge;
      this.#open(merge, positions, ending);
      onBegun(positions);
      await this.#work({
        task,
        emit: (cause, topic, output) => taken.outputs.emit(cause, topic, output, this.#isTraced),
        merge,
        outputs,
        ending,
        savedAtMs: clock.now(),
        isDirty: false,
        needsLast: false,
        saving: Promise.resolve(),
      });
    } finally {
      this.#stop.signal.removeEventListener("abort", end);
      ending.abort();
      this.#merge = null;
      this.#isOpen = false;
      this.#isBusy = false;
      this.#changed();
      await outputs?.stop();
    }
  }

  /** Lets batches in; in a second tenure after what was delivered to the first one was read again. */
  #open(merge: Merge, positions: ReadonlyMap<string, number | null>, ending: AbortController): void {
    const opened = (): void => {
      this.#isOpen = true;
      this.#changed();
    };
    if (this.#delivered.size === 0) {
      for (const [topic, position] of positions) this.#delivered.set(topic, position ?? 0);
      return opened();
    }
    this.#readAgain(merge, positions, ending.signal).then(
      () => {
        if (this.#merge === merge) opened();
      },
      (error: unknown) => this.#failLater(error, ending),
    );
  }

  async #readAgain(
    merge: Merge,
    positions: ReadonlyMap<string, number | null>,
    signal: AbortSignal,
  ): Promise<void> {
    const { broker } = this.#ports;
    const { partition } = this;
    const readTopic = async (topic: string, position: number | null): Promise<void> => {
      const until = this.#delivered.get(topic) ?? 0;
      const first = (await broker.offsets(topic)).find((one) => one.partition === partition)?.first ?? 0;
      for await (const records of broker.read(topic, partition, position ?? first, until)) {
        if (signal.aborted) return;
        const nextOffset = (records.at(-1)?.offset ?? -1) + 1;
        merge.add({ topic, partition, records, nextOffset, endOffset: until });
        this.#wake.ring();
        while (this.#merge === merge && merge.buffered(topic) > BUFFERED_RECORDS_MAX) await this.#change();
      }
      merge.add({ topic, partition, records: [], nextOffset: until, endOffset: until });
    };
    await Promise.all([...positions].map(([topic, position]) => readTopic(topic, position)));
  }

  async #work(tenure: Tenure): Promise<void> {
    const { merge, outputs, ending } = tenure;
    const { signal } = ending;
    try {
      while (!signal.aborted) {
        const taken = merge.take(this.#recordsMax, this.#ports.clock.now());
        if (taken.length > 0) {
          this.#changed();
          const working = this.#process(taken, tenure);
          if (working !== undefined) await working;
          tenure.isDirty = true;
          outputs.send();
          while (outputs.pendingBytes > PENDING_BYTES_MAX && !signal.aborted)
            await this.#wake.wait(Number.POSITIVE_INFINITY);
        }
        while (outputs.heldBytes > HELD_BYTES_MAX && !signal.aborted) {
          if (this.#share.saves.isFree()) await this.#save(tenure, false);
          await this.#wake.wait(Number.POSITIVE_INFINITY);
        }
        if (this.#saveInMs(tenure) === 0) await this.#save(tenure, false);
        // An event-loop turn between chunks lets heartbeats, requests and the other steps through.
        if (taken.length > 0) await new Promise(setImmediate);
        else {
          const graceMs = merge.graceLeftMs(this.#ports.clock.now());
          await this.#wake.wait(Math.min(graceMs, this.#saveInMs(tenure)));
        }
      }
    } catch (error) {
      // A tenure that is over ends the task's waiting: why it is over comes first.
      this.#check(outputs);
      throw error;
    }
    await tenure.saving;
    this.#check(outputs);
    if (tenure.isDirty || tenure.needsLast) await this.#save(tenure, true);
    await outputs.settle();
  }

  /** Throws what has failed in the background. */
  #check(outputs: Outputs): void {
    if (this.#failure !== null) throw this.#failure.error;
    outputs.check();
  }

  #saveInMs({ isDirty, savedAtMs, outputs }: Tenure): number {
    return isDirty ? this.#share.saves.dueInMs(savedAtMs, outputs.holds()) : Number.POSITIVE_INFINITY;
  }

  /** Runs the task over a chunk. The state and the merge's positions are of one moment before and after it (S2). */
  #process(records: readonly StreamRecord[], tenure: Tenure): void | Promise<void> {
    const { clock } = this.#ports;
    const startedAtMs = clock.now();
    const traced = records.find((record) => record.header(HEADERS.traceparent) !== undefined);
    this.#isTraced = traced !== undefined;
    const ended = (): void => {
      this.#isBusy = false;
      this.#hasProgressed = true;
      this.#progressAtMs = clock.now();
    };
    this.#isBusy = true;
    const working =
      traced === undefined
        ? tenure.task.process(records, tenure.emit)
        : this.#trace(traced, records.length, () => tenure.task.process(records, tenure.emit));
    if (working !== undefined) return working.then(ended);
    ended();
    const tookMs = this.#progressAtMs - startedAtMs;
    if (tookMs >= CHUNK_MS_MAX) this.#recordsMax = Math.max(RECORDS_MIN, this.#recordsMax >> 1);
    else if (tookMs <= CHUNK_MS_LOW && records.length === this.#recordsMax) {
      this.#recordsMax = Math.min(this.#definition.recordsMax ?? RECORDS_MAX, 2 * this.#recordsMax);
    }
  }

  /** A producer that traces an event sends a traceparent: the batch that holds it becomes a span of that trace. */
  #trace(traced: StreamRecord, count: number, work: () => void | Promise<void>): Promise<void> {
    return withSpan(
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
          "messaging.batch.message_count": count,
        },
      },
      async () => work(),
    );
  }

  /**
   * Saves a checkpoint of this moment, once what was written before it is acknowledged (S2). Resolves when it is
   * copied, and the last one of a tenure when it is safe.
   */
  async #save(tenure: Tenure, last: boolean): Promise<void> {
    const { outputs, task, merge, ending } = tenure;
    const { checkpoints, topics, version = "" } = this.#definition;
    const turn = last ? null : this.#share.saves.begin();
    try {
      await outputs.settle();
      turn?.copy();
      const held = outputs.held();
      const checkpoint: Checkpoint = {
        version,
        offsets: Object.fromEntries(topics.map((topic) => [topic, merge.position(topic)])),
        ends: outputs.ends((topic) => merge.position(topic)),
        held,
        state: task.snapshot(),
      };
      const saved = checkpoints.save(this.partition, checkpoint, last).then(() => outputs.release(held));
      tenure.savedAtMs = this.#ports.clock.now();
      tenure.isDirty = false;
      tenure.needsLast = !last;
      if (last) return await saved;
      tenure.saving = saved
        .catch((error: unknown) => this.#failLater(error, ending))
        .finally(() => turn?.end());
    } catch (error) {
      turn?.end();
      throw error;
    }
  }

  #failLater(error: unknown, ending: AbortController): void {
    this.#failure ??= { error };
    ending.abort();
    this.#wake.ring();
  }

  /** Resolves when something has changed for those who wait. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** Consumer group of a step. */
export function groupName(step: string): string {
  return `millrace.${step}`;
}
