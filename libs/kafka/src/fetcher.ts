import { type Log, sleep } from "@millrace/runtime";
import type { Batch } from "@millrace/stream";
import { type Cluster, type Lane, TopicRecreatedError } from "./cluster.ts";
import { Backoff } from "./patience.ts";
import type { Position } from "./position.ts";
import { ConnectionError, isRetriable, KafkaError } from "./wire/errors.ts";
import { type FetchedPartition, fetch } from "./wire/messages/fetch.ts";
import { topicKeys } from "./wire/messages/topic-reference.ts";

/** Of all partitions together in one answer. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** The broker waits so long for records when it is asked for all that is wanted from it. */
const WAIT_MS = 250;
/** And so long while other partitions of it may have room again any moment. */
const WAIT_SHORT_MS = 10;
/**
 * While records flow, the broker waits for so many bytes, at most so long: else it would answer with a few records at a
 * time, and both sides would be busy with requests rather than records. After an answer without any, it does not.
 */
const FLOW_BYTES = 64 * 1024;
const FLOW_WAIT_MS = 8;
/** Partitions without a leader are looked at again after so long. */
const LEADERLESS_MS = 100;
/** A broker that does not answer for so long is thought to be gone. */
const ANSWER_MS = 10_000;
const WARN_EVERY_MS = 10_000;

/** One partition that is read. */
interface Reading {
  readonly position: Position;
  /** Fetched while the batch before is being taken; one at most. */
  waiting: FetchedPartition | null;
  /** Part of the request under way. */
  asked: boolean;
  delivering: boolean;
  ended: boolean;
  retryAtMs: number;
  readonly backoff: Backoff;
  /** Since when it has only failed; 0: it has not. */
  failingSinceMs: number;
}

/**
 * Reads partitions, wherever their leaders are: one Fetch at a time to each broker, for all partitions that have room.
 * A partition has room while nothing of it waits to be delivered, so that one answer is fetched while the one before is
 * being taken.
 */
export class Fetcher {
  readonly #cluster: Cluster;
  readonly #log: Log;
  readonly #lane: Lane;
  readonly #onBatch: (batch: Batch) => Promise<void>;
  readonly #onFailed: (error: unknown) => void;
  readonly #readings = new Set<Reading>();
  /** Nodes that a request is under way to. */
  readonly #busy = new Set<number>();
  /** Nodes whose last answer had records. */
  readonly #flowing = new Set<number>();
  readonly #stop = new AbortController();
  #scheduled = false;
  #timer: NodeJS.Timeout | null = null;
  #refreshing = false;
  /** Where the next request begins among the partitions, so that none is always the last. */
  #turn = 0;

  constructor(
    cluster: Cluster,
    log: Log,
    onBatch: (batch: Batch) => Promise<void>,
    onFailed: (error: unknown) => void,
  ) {
    this.#cluster = cluster;
    this.#log = log;
    this.#lane = cluster.openLane();
    this.#onBatch = onBatch;
    this.#onFailed = onFailed;
  }

  /** Reads on from a position. The answer ends it: from then on no further batch is delivered. */
  add(position: Position): () => void {
    const reading: Reading = {
      position,
      waiting: null,
      asked: false,
      delivering: false,
      ended: false,
      retryAtMs: 0,
      backoff: new Backoff(),
      failingSinceMs: 0,
    };
    this.#readings.add(reading);
    this.#schedule();
    return () => this.#end(reading);
  }

  stop(): void {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const reading of this.#readings) this.#end(reading);
    this.#cluster.closeLane(this.#lane);
  }

  #end(reading: Reading): void {
    reading.ended = true;
    reading.waiting = null;
    this.#readings.delete(reading);
  }

  #schedule(): void {
    if (this.#scheduled || this.#stop.signal.aborted) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#stop.signal.aborted) return;
    const nowMs = performance.now();
    const wanted = new Map<number, Reading[]>();
    /** Nodes with partitions that cannot be asked for now. */
    const more = new Set<number>();
    let leaderless = false;
    let wakeInMs = Number.POSITIVE_INFINITY;
    for (const reading of this.#readings) {
      const { topic, partition } = reading.position;
      const known = this.#cluster.topic(topic.name);
      const leader = known?.leaders[partition] ?? -1;
      if (known !== undefined && known.id !== topic.id) {
        this.#fail(reading, new TopicRecreatedError(topic.name));
      } else if (leader < 0) {
        leaderless = true;
        this.#complain(reading, new Error("it has no leader, or the topic is gone"));
      } else if (reading.retryAtMs > nowMs) wakeInMs = Math.min(wakeInMs, reading.retryAtMs - nowMs);
      else if (reading.asked || reading.waiting !== null) more.add(leader);
      else if (!this.#busy.has(leader)) wanted.set(leader, [...(wanted.get(leader) ?? []), reading]);
    }
    for (const [node, readings] of wanted) void this.#request(node, readings, more.has(node));
    if (leaderless) void this.#refresh();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer =
      wakeInMs === Number.POSITIVE_INFINITY ? null : setTimeout(() => this.#schedule(), wakeInMs + 1);
  }

  async #request(node: number, readings: readonly Reading[], more: boolean): Promise<void> {
    this.#busy.add(node);
    const first = this.#turn++ % readings.length;
    const inTurn = [...readings.slice(first), ...readings.slice(0, first)];
    const asked = new Map<string, Reading>();
    for (const reading of inTurn) {
      reading.asked = true;
      for (const key of topicKeys(reading.position.topic))
        asked.set(`${key}/${reading.position.partition}`, reading);
    }
    try {
      const flows = this.#flowing.has(node);
      const request = {
        maxWaitMs: flows ? FLOW_WAIT_MS : more ? WAIT_SHORT_MS : WAIT_MS,
        bytesMin: flows ? FLOW_BYTES : 1,
        bytesMax: ANSWER_BYTES_MAX,
        partitions: inTurn.map(({ position }) => position.asked()),
      };
      const answer = await this.#cluster.node(node, this.#lane).request(fetch, request, ANSWER_MS);
      for (const reading of readings) reading.asked = false;
      if (answer.errorCode !== 0) throw new KafkaError(answer.errorCode, "Fetch");
      if (answer.partitions.some(({ records }) => records !== null && records.length > 0)) {
        this.#flowing.add(node);
      } else this.#flowing.delete(node);
      for (const partition of answer.partitions) {
        const reading = asked.get(`${partition.topicKey}/${partition.partition}`);
        if (reading === undefined || reading.ended) continue;
        reading.waiting = partition;
        if (!reading.delivering) void this.#deliver(reading);
      }
    } catch (error) {
      for (const reading of readings) {
        reading.asked = false;
        this.#retry(reading, error);
      }
    }
    this.#busy.delete(node);
    this.#schedule();
  }

  /** Hands over what waits, one answer after the other. */
  async #deliver(reading: Reading): Promise<void> {
    const { position } = reading;
    reading.delivering = true;
    while (reading.waiting !== null) {
      const answer = reading.waiting;
      reading.waiting = null;
      const before = position.offset;
      const taken = await position.take(answer, this.#cluster).catch((error: unknown) => {
        this.#retry(reading, error);
        return null;
      });
      if (taken === null || reading.ended) break;
      reading.backoff.reset();
      reading.failingSinceMs = 0;
      this.#schedule();
      if (taken.nextOffset === before) continue;
      const { topic, partition, end } = position;
      try {
        await this.#onBatch({ topic: topic.name, partition, ...taken, endOffset: end });
      } catch (error) {
        this.#fail(reading, error);
      }
    }
    reading.delivering = false;
    this.#schedule();
  }

  #retry(reading: Reading, error: unknown): void {
    if (reading.ended || this.#stop.signal.aborted) return;
    if (!isRetriable(error)) {
      this.#fail(reading, error);
      return;
    }
    reading.waiting = null;
    reading.retryAtMs = performance.now() + reading.backoff.nextMs();
    this.#complain(reading, error);
    if (error instanceof ConnectionError || (error instanceof KafkaError && error.remedy === "refresh")) {
      void this.#refresh();
    }
  }

  #fail(reading: Reading, error: unknown): void {
    if (reading.ended || this.#stop.signal.aborted) return;
    this.#end(reading);
    this.#onFailed(error);
  }

  /** A partition that cannot be read is waited for without end, but not in silence. */
  #complain(reading: Reading, error: unknown): void {
    const nowMs = performance.now();
    if (reading.failingSinceMs === 0) reading.failingSinceMs = nowMs;
    if (nowMs - reading.failingSinceMs < WARN_EVERY_MS) return;
    reading.failingSinceMs = nowMs;
    this.#log.warn(
      { err: error, partition: reading.position.name },
      "a partition cannot be read; trying again",
    );
  }

  /** Asks who leads; the partitions are looked at again when the answer has come. */
  async #refresh(): Promise<void> {
    if (this.#refreshing) return;
    this.#refreshing = true;
    await this.#cluster
      .refresh(new Set([...this.#readings].map(({ position }) => position.topic.name)))
      .catch(() => {});
    await sleep(LEADERLESS_MS, this.#stop.signal);
    this.#refreshing = false;
    this.#schedule();
  }
}
