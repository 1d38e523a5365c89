import { type Log, sleep } from "@millrace/runtime";
import { FencedError, RecordTooLargeError } from "@millrace/stream";
import { ageingClock } from "./ageing-clock.ts";
import { type Cluster, TopicRecreatedError } from "./cluster.ts";
import { Backoff, PatienceError } from "./patience.ts";
import type { BatchBuilder } from "./wire/batch-builder.ts";
import { isRetriable, KafkaError } from "./wire/errors.ts";
import type { ProducerIdentity } from "./wire/messages/init-producer-id.ts";
import { produce } from "./wire/messages/produce.ts";
import { type TopicReference, topicKeys } from "./wire/messages/topic-reference.ts";
import { splitBatch } from "./wire/split-batch.ts";

/** How long the leader may wait for its followers, and how long its answer is awaited. */
const REPLICATION_MS = 15_000;
const ANSWER_MS = 20_000;
/** Bytes of one request; a single larger batch goes alone. */
const REQUEST_BYTES_MAX = 8 * 1024 * 1024;

/** Brokers take 1 MiB unless they or the topic are configured otherwise; a larger record goes alone. */
const BATCH_BYTES_MAX = 900_000;

const DUPLICATE_SEQUENCE_NUMBER = 46;
const TOO_LARGE: readonly number[] = [10, 18];

/** One batch on its way. */
interface Parcel {
  readonly builder: BatchBuilder;
  readonly done: (error: Error | null) => void;
}

/**
 * What one producer writes to one partition. Its batches are sent one after the other, the next when the one before is
 * acknowledged, so that a retry can neither overtake nor be overtaken: with their sequence numbers they stand in the
 * log once and in order.
 */
export class Outlet {
  readonly topic: TopicReference;
  readonly partition: number;
  /** Whether nothing may be written behind a record that was refused for its size. */
  readonly unbroken: boolean;
  producer: ProducerIdentity;
  /** After this time, by the ageing clock, a broker may have forgotten that this producer was fenced. */
  goodUntilMs: number;
  sequence = 0;
  /** A batch should not be larger; less than what the topic's `max.message.bytes` is thought to be. */
  batchBytesMax: number = BATCH_BYTES_MAX;
  readonly parcels: Parcel[] = [];
  /** Since when the first parcel is tried; 0: it is not. */
  triedSinceMs = 0;
  /** Not before. */
  retryAtMs = 0;
  inFlight = false;
  failure: Error | null = null;
  readonly backoff: Backoff = new Backoff();

  constructor(
    topic: TopicReference,
    partition: number,
    unbroken: boolean,
    producer: ProducerIdentity,
    goodUntilMs: number,
  ) {
    this.topic = topic;
    this.partition = partition;
    this.unbroken = unbroken;
    this.producer = producer;
    this.goodUntilMs = goodUntilMs;
  }

  get name(): string {
    return `${this.topic.name}/${this.partition}`;
  }

  /** Another epoch of the same producer; nothing may be under way. */
  renew(producer: ProducerIdentity, goodUntilMs: number): void {
    this.producer = producer;
    this.goodUntilMs = goodUntilMs;
    this.sequence = 0;
  }
}

/**
 * Sends batches to the leaders of their partitions. All that is ready for a broker goes in one request, one request at
 * a time, so that many writers of a process share round trips.
 */
export class Outbox {
  readonly #cluster: Cluster;
  readonly #log: Log;
  readonly #now: () => number;
  /** Outlets with something to send. */
  readonly #outlets = new Set<Outlet>();
  /** Nodes that a request is under way to. */
  readonly #busy = new Set<number>();
  #scheduled = false;
  #refreshing = false;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(cluster: Cluster, log: Log, now: () => number = ageingClock()) {
    this.#cluster = cluster;
    this.#log = log;
    this.#now = now;
  }

  /**
   * Sends the batch after those that the outlet has. Resolves when it is acknowledged; the builder may then be used
   * again. Rejects with a RecordTooLargeError, after which only an outlet that is not `unbroken` is of use, or with a
   * FencedError or another error, after which none is.
   */
  send(outlet: Outlet, builder: BatchBuilder): Promise<void> {
    if (this.#stopped) outlet.failure ??= new Error("the client was stopped");
    if (outlet.failure !== null) return Promise.reject(outlet.failure);
    return new Promise((resolve, reject) => {
      const done = (error: Error | null): void => (error === null ? resolve() : reject(error));
      outlet.parcels.push({ builder, done });
      this.#outlets.add(outlet);
      this.#schedule();
    });
  }

  /** Rejects what the outlet still has, and all that comes later. */
  drop(outlet: Outlet, reason: Error): void {
    if (outlet.failure === null) this.#fail(outlet, reason);
  }

  /** Rejects what is under way. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const outlet of this.#outlets) this.#fail(outlet, new Error("the client was stopped"));
  }

  /** At the end of this turn, so that what is sent in one turn goes together. */
  #schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#stopped) return;
    const nowMs = performance.now();
    const byNode = new Map<number, Outlet[]>();
    let leaderless = false;
    let wakeInMs = Number.POSITIVE_INFINITY;
    for (const outlet of this.#outlets) {
      if (outlet.inFlight) continue;
      if (outlet.triedSinceMs === 0) outlet.triedSinceMs = nowMs;
      if (outlet.retryAtMs > nowMs) {
        wakeInMs = Math.min(wakeInMs, outlet.retryAtMs - nowMs);
        continue;
      }
      if (this.#now() > outlet.goodUntilMs) {
        const message = `${outlet.name}: this writer slept for so long that it may be fenced`;
        this.#fail(outlet, new FencedError(message));
        continue;
      }
      const leader = this.#leader(outlet);
      if (outlet.failure !== null) continue;
      if (leader < 0) leaderless = true;
      else if (!this.#busy.has(leader)) byNode.set(leader, [...(byNode.get(leader) ?? []), outlet]);
    }
    for (const [node, outlets] of byNode) void this.#request(node, oneRequest(outlets));
    if (leaderless) void this.#refresh();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer =
      wakeInMs === Number.POSITIVE_INFINITY ? null : setTimeout(() => this.#schedule(), wakeInMs + 1);
  }

  /** The node that leads the outlet's partition, -1 where it is not known. */
  #leader(outlet: Outlet): number {
    const topic = this.#cluster.topic(outlet.topic.name);
    if (topic !== undefined && topic.id !== outlet.topic.id) {
      this.#fail(outlet, new TopicRecreatedError(outlet.topic.name));
      return -1;
    }
    const leader = topic?.leaders[outlet.partition] ?? -1;
    if (leader < 0) this.#giveUpInTime(outlet, new KafkaError(5, outlet.name));
    return leader;
  }

  async #request(node: number, outlets: readonly Outlet[]): Promise<void> {
    this.#busy.add(node);
    const asked = new Map<string, Outlet>();
    const batches = [];
    for (const outlet of outlets) {
      const { builder } = outlet.parcels[0] as Parcel;
      const { topic, partition } = outlet;
      outlet.inFlight = true;
      batches.push({ topic, partition, records: builder.finish(outlet.producer, outlet.sequence) });
      for (const key of topicKeys(topic)) asked.set(`${key}/${partition}`, outlet);
    }
    try {
      const request = { timeoutMs: REPLICATION_MS, batches };
      const { results } = await this.#cluster.node(node, "produce").request(produce, request, ANSWER_MS);
      for (const { topicKey, partition, errorCode, errorMessage } of results) {
        const outlet = asked.get(`${topicKey}/${partition}`);
        if (outlet?.inFlight) this.#settle(outlet, errorCode, errorMessage);
      }
      for (const outlet of outlets) {
        if (outlet.inFlight)
          this.#retry(outlet, new KafkaError(13, `${outlet.name} is missing in the answer`));
      }
    } catch (error) {
      for (const outlet of outlets) {
        if (!outlet.inFlight) continue;
        if (isRetriable(error)) this.#retry(outlet, error);
        else this.#fail(outlet, error as Error);
      }
    }
    this.#busy.delete(node);
    this.#schedule();
  }

  #settle(outlet: Outlet, errorCode: number, errorMessage: string | null): void {
    const { builder, done } = outlet.parcels[0] as Parcel;
    if (errorCode === 0 || errorCode === DUPLICATE_SEQUENCE_NUMBER) {
      outlet.sequence = (outlet.sequence + builder.count) % 2 ** 31;
      this.#next(outlet);
      done(null);
      return;
    }
    const error = new KafkaError(errorCode, `writing to ${outlet.name}`, errorMessage);
    if (TOO_LARGE.includes(errorCode)) this.#shrink(outlet, error);
    else if (error.remedy === "fenced") {
      const message = `${outlet.name}: another writer of the same name was opened`;
      this.#fail(outlet, new FencedError(message, { cause: error }));
    } else if (isRetriable(error)) this.#retry(outlet, error);
    else this.#fail(outlet, error);
  }

  /** A batch is larger than its topic allows: it is sent in two. A single record is refused. */
  #shrink(outlet: Outlet, cause: KafkaError): void {
    const parcel = outlet.parcels[0] as Parcel;
    if (parcel.builder.count === 1) {
      const message = `a record of ${parcel.builder.size} bytes is larger than topic ${outlet.topic.name} allows`;
      const error = new RecordTooLargeError(message, { cause });
      if (outlet.unbroken) return this.#fail(outlet, error);
      this.#next(outlet);
      parcel.done(error);
      return;
    }
    outlet.batchBytesMax = Math.min(outlet.batchBytesMax, parcel.builder.size / 2);
    const builders = splitBatch(parcel.builder);
    let left = builders.length;
    let failure: Error | null = null;
    const done = (error: Error | null): void => {
      left--;
      failure = error ?? failure;
      if (left === 0) parcel.done(failure);
    };
    const halves = builders.map((builder) => ({ builder, done }));
    outlet.parcels.splice(0, 1, ...halves);
    outlet.inFlight = false;
  }

  #next(outlet: Outlet): void {
    outlet.inFlight = false;
    outlet.parcels.shift();
    outlet.triedSinceMs = 0;
    outlet.backoff.reset();
    if (outlet.parcels.length === 0) this.#outlets.delete(outlet);
  }

  #retry(outlet: Outlet, error: unknown): void {
    outlet.inFlight = false;
    outlet.retryAtMs = performance.now() + outlet.backoff.nextMs();
    this.#log.debug({ err: error, partition: outlet.name }, "a batch is sent again");
    if (this.#giveUpInTime(outlet, error)) return;
    if (!(error instanceof KafkaError) || error.remedy === "refresh") void this.#refresh();
  }

  #giveUpInTime(outlet: Outlet, error: unknown): boolean {
    const { patienceMs } = this.#cluster;
    const late = performance.now() - outlet.triedSinceMs > patienceMs;
    if (late) this.#fail(outlet, new PatienceError(`writing to ${outlet.name}`, patienceMs, error));
    return late;
  }

  #fail(outlet: Outlet, error: Error): void {
    outlet.inFlight = false;
    outlet.failure = error;
    this.#outlets.delete(outlet);
    for (const { done } of outlet.parcels.splice(0)) done(error);
  }

  /** Asks who leads; the outlets are looked at again when the answer has come. */
  async #refresh(): Promise<void> {
    if (this.#refreshing) return;
    this.#refreshing = true;
    const topics = new Set([...this.#outlets].map((outlet) => outlet.topic.name));
    const failed = await this.#cluster.refresh(topics).then(
      () => false,
      () => true,
    );
    // A cluster that elects is not asked all the time.
    await sleep(failed ? 200 : 50);
    this.#refreshing = false;
    this.#schedule();
  }
}

/** What fits into one request, at most one batch of each partition. */
function oneRequest(outlets: readonly Outlet[]): Outlet[] {
  const chosen = new Map<string, Outlet>();
  let bytes = 0;
  for (const outlet of outlets) {
    const { size } = (outlet.parcels[0] as Parcel).builder;
    if (chosen.has(outlet.name) || (bytes > 0 && bytes + size > REQUEST_BYTES_MAX)) continue;
    chosen.set(outlet.name, outlet);
    bytes += size;
  }
  return [...chosen.values()];
}
