import { PATIENCE_MS, patiently } from "./patience.ts";
import type { Api } from "./wire/api.ts";
import { type Address, Connection, type ConnectionSettings } from "./wire/connection.ts";
import { ConnectionError, checkCode, isRetriable, KafkaError } from "./wire/errors.ts";
import { type CoordinatorKey, findCoordinator } from "./wire/messages/find-coordinator.ts";
import { type ListOffsets, listOffsets } from "./wire/messages/list-offsets.ts";
import { type Metadata, metadata } from "./wire/messages/metadata.ts";
import type { TopicReference } from "./wire/messages/topic-reference.ts";

/** A topic as the brokers know it. */
export interface Topic extends TopicReference {
  /** By partition number: the node that leads it; -1: none at present. */
  readonly leaders: readonly number[];
}

/**
 * Requests that may take long are sent on a connection of their own, because a broker answers one request of a
 * connection after the other: a Fetch that waits for records would hold up what comes behind it.
 */
export type Lane = "control" | "produce" | `fetch ${number}`;

/** The topic has been deleted and made anew under its reader or writer: its offsets mean other records now. */
export class TopicRecreatedError extends Error {
  constructor(topic: string) {
    super(
      `topic ${topic} was deleted and made anew while it was in use: remove the step's checkpoint to begin with the new one`,
    );
    this.name = "TopicRecreatedError";
  }
}

/** What is known of the brokers: where they are, who leads which partition, and the connections to them. */
export class Cluster {
  /** For how long what can succeed later is tried again before the caller is told. */
  readonly patienceMs: number;
  readonly #seeds: readonly Address[];
  readonly #settings: ConnectionSettings;
  readonly #connections = new Map<string, Connection>();
  #nodes = new Map<number, Address>();
  readonly #topics = new Map<string, Topic>();
  readonly #coordinators = new Map<string, Address>();
  /** Topics to ask for in the next refresh, and the refresh that will ask for them. */
  #wanted = new Set<string>();
  #next: Promise<void> | null = null;
  #current: Promise<unknown> = Promise.resolve();
  #lanes = 0;
  #stopped = false;

  constructor(seeds: readonly Address[], settings: ConnectionSettings, patienceMs: number = PATIENCE_MS) {
    this.#seeds = seeds;
    this.patienceMs = patienceMs;
    this.#settings = settings;
  }

  /** A lane that nobody else uses; end it with `closeLane`. */
  openLane(): Lane {
    return `fetch ${++this.#lanes}`;
  }

  closeLane(lane: Lane): void {
    for (const [key, connection] of this.#connections) {
      if (!key.startsWith(`${lane} `)) continue;
      connection.close();
      this.#connections.delete(key);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  /** What is known of a topic; undefined when nothing is. */
  topic(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  /** The topic, asked for if nothing is known of it. Throws a KafkaError when the brokers do not know it. */
  async lookUp(name: string): Promise<Topic> {
    if (!this.#topics.has(name)) await this.refresh([name]);
    const topic = this.#topics.get(name);
    if (topic === undefined) throw unknownTopic(name);
    return topic;
  }

  /** The topic, if it has the partition; asked for anew if not, and then a retriable KafkaError all the same. */
  async lookUpPartition(name: string, partition: number): Promise<Topic> {
    const topic = await this.lookUp(name);
    if (partition < topic.leaders.length) return topic;
    await this.refresh([name]);
    throw unknownTopic(`${name}/${partition}`);
  }

  /**
   * Asks for the topics anew; the brokers' addresses come along. A topic that the brokers do not know (any more) is
   * forgotten. Calls at the same time share one request.
   */
  refresh(topics: Iterable<string>): Promise<void> {
    for (const topic of topics) this.#wanted.add(topic);
    this.#next ??= this.#current.then(async () => {
      const wanted = [...this.#wanted];
      this.#wanted = new Set();
      this.#next = null;
      const asking = this.any(metadata, { topics: wanted }).then((answer) => this.#learn(wanted, answer));
      this.#current = asking.catch(() => {});
      await asking;
    });
    return this.#next;
  }

  /** The connection to a node. */
  node(nodeId: number, lane: Lane): Connection {
    const address = this.#nodes.get(nodeId);
    if (address === undefined) throw new ConnectionError(`no broker ${nodeId} is known`);
    return this.#connection(address, lane);
  }

  /** The connection to the leader of a partition. Throws a retriable KafkaError when there is none. */
  leader(topic: string, partition: number, lane: Lane): Connection {
    const known = this.#topics.get(topic);
    const leader = known?.leaders[partition];
    if (leader === undefined) throw unknownTopic(`${topic}/${partition}`);
    if (leader < 0) throw new KafkaError(5, `${topic}/${partition}`);
    return this.node(leader, lane);
  }

  /** Asks whichever broker answers first, in random order, known ones before the configured ones. */
  async any<Q, R>(api: Api<Q, R>, request: Q): Promise<R> {
    const known = [...this.#nodes.values()].toSorted(() => Math.random() - 0.5);
    const seeds = this.#seeds.toSorted(() => Math.random() - 0.5);
    const connections = [...known, ...seeds].map((address) => this.#connection(address, "control"));
    let failure: unknown = new ConnectionError("no broker is configured");
    for (const connection of new Set(connections)) {
      try {
        return await connection.request(api, request);
      } catch (error) {
        if (!isRetriable(error)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** The connection to the coordinator of a group or a transactional id. */
  async coordinator({ kind, key }: CoordinatorKey, lane: Lane): Promise<Connection> {
    const name = `${kind} ${key}`;
    let address = this.#coordinators.get(name);
    if (address === undefined) {
      const answer = await this.any(findCoordinator, { kind, key });
      checkCode(answer.errorCode, `the coordinator of ${name}`, answer.errorMessage);
      address = { host: answer.host, port: answer.port };
      this.#coordinators.set(name, address);
    }
    return this.#connection(address, lane);
  }

  /** The coordinator has moved or cannot be reached: it is looked for again. */
  forgetCoordinator({ kind, key }: CoordinatorKey): void {
    this.#coordinators.delete(`${kind} ${key}`);
  }

  /** First or end offsets of partitions, in the order in which they are given. Leaders that move are followed. */
  async offsets(request: ListOffsets): Promise<number[]> {
    const names = [...new Set(request.partitions.map((one) => one.topic))];
    const found = new Map<string, number>();
    await patiently(
      `offsets of ${names.join(", ")}`,
      async () => {
        for (const name of names) await this.lookUp(name);
        const missing = request.partitions.filter((one) => !found.has(`${one.topic}/${one.partition}`));
        try {
          const asked = Map.groupBy(missing, (one) => this.leader(one.topic, one.partition, "control"));
          await Promise.all(
            [...asked].map(async ([connection, partitions]) => {
              const answer = await connection.request(listOffsets, { ...request, partitions });
              for (const { topic, partition, errorCode, offset } of answer.partitions) {
                checkCode(errorCode, `offsets of ${topic}/${partition}`);
                found.set(`${topic}/${partition}`, offset);
              }
            }),
          );
        } catch (error) {
          await this.refresh(names);
          throw error;
        }
      },
      { patienceMs: this.patienceMs },
    );
    return request.partitions.map(({ topic, partition }) => found.get(`${topic}/${partition}`) as number);
  }

  #learn(wanted: readonly string[], { brokers, topics }: Metadata): void {
    this.#nodes = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    const living = new Set(
      [...this.#nodes.values(), ...this.#seeds].map(({ host, port }) => `${host}:${port}`),
    );
    for (const [key, connection] of this.#connections) {
      if (living.has(`${connection.address.host}:${connection.address.port}`)) continue;
      connection.close();
      this.#connections.delete(key);
    }
    for (const { errorCode, name, id, partitions } of topics) {
      if (errorCode !== 0 && partitions.length === 0) {
        if (errorCode === UNKNOWN_TOPIC && wanted.includes(name)) this.#topics.delete(name);
        continue;
      }
      const leaders = new Array<number>(partitions.length).fill(-1);
      for (const { index, leader } of partitions) leaders[index] = leader;
      this.#topics.set(name, { name, id, leaders });
    }
  }

  #connection(address: Address, lane: Lane): Connection {
    if (this.#stopped) throw new Error("the client was stopped");
    const key = `${lane} ${address.host}:${address.port}`;
    let connection = this.#connections.get(key);
    if (connection === undefined) {
      connection = new Connection(address, this.#settings);
      this.#connections.set(key, connection);
    }
    return connection;
  }
}

const UNKNOWN_TOPIC = 3;

function unknownTopic(name: string): KafkaError {
  return new KafkaError(UNKNOWN_TOPIC, `topic ${name}`);
}
