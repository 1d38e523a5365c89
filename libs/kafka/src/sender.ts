import type { OutputRecord } from "@millrace/stream";
import type { BuilderPool } from "./builder-pool.ts";
import type { Cluster } from "./cluster.ts";
import { type Outbox, Outlet } from "./outbox.ts";
import { patiently } from "./patience.ts";
import type { BatchBuilder } from "./wire/batch-builder.ts";
import { checkCode } from "./wire/errors.ts";
import {
  type InitializedProducer,
  initProducerId,
  type ProducerIdentity,
} from "./wire/messages/init-producer-id.ts";

/** A topic that the brokers do not know may have been made a moment ago; after this it is taken for missing. */
const UNKNOWN_TOPIC_MS = 5_000;

/** A producer that nobody fences, and what it has under way. */
interface Producer {
  readonly identity: ProducerIdentity;
  readonly outlets: Map<string, Outlet>;
}

/**
 * Writes for nobody in particular. What is sent again after a lost acknowledgement is written once, as long as this
 * process lives.
 */
export class Sender {
  readonly #cluster: Cluster;
  readonly #outbox: Outbox;
  readonly #builders: BuilderPool;
  readonly #now: () => number;
  #producer: Promise<Producer> | null = null;

  constructor(cluster: Cluster, outbox: Outbox, builders: BuilderPool, now: () => number) {
    this.#cluster = cluster;
    this.#outbox = outbox;
    this.#builders = builders;
    this.#now = now;
  }

  /** Records of one partition keep their order, between calls too. One that is too large is left out. */
  async send(records: readonly OutputRecord[]): Promise<void> {
    if (records.length === 0) return;
    const partitions = Map.groupBy(records, (one) => `${one.topic}/${one.partition}`);
    for (const ofPartition of partitions.values()) {
      const { topic, partition } = ofPartition[0] as OutputRecord;
      const what = `partition ${topic}/${partition}`;
      const patienceMs = UNKNOWN_TOPIC_MS;
      await patiently(what, () => this.#cluster.lookUpPartition(topic, partition), { patienceMs });
    }
    const producer = await this.#current();
    const sending: Promise<void>[] = [];
    for (const ofPartition of partitions.values()) {
      const { topic, partition } = ofPartition[0] as OutputRecord;
      const outlet = this.#outlet(producer, topic, partition);
      for (const builder of this.#batches(outlet, ofPartition))
        sending.push(this.#sendOne(producer, outlet, builder));
    }
    const refused = (await Promise.allSettled(sending)).find((one) => one.status === "rejected");
    if (refused !== undefined) throw refused.reason;
  }

  #batches(outlet: Outlet, records: readonly OutputRecord[]): BatchBuilder[] {
    const batches: BatchBuilder[] = [];
    let filling: BatchBuilder | undefined;
    for (const record of records) {
      const size = (record.key?.length ?? 0) + (record.value?.length ?? 0);
      if (filling === undefined || filling.size + size > outlet.batchBytesMax) {
        filling = this.#builders.take();
        batches.push(filling);
      }
      filling.append(record, null, this.#now());
    }
    return batches;
  }

  async #sendOne(producer: Producer, outlet: Outlet, builder: BatchBuilder): Promise<void> {
    try {
      await this.#outbox.send(outlet, builder);
      this.#builders.give(builder);
    } catch (error) {
      // Nobody knows how far this producer has come in the partition: the next call begins with another one.
      if (outlet.failure !== null && (await this.#producer?.catch(() => null)) === producer)
        this.#producer = null;
      throw error;
    }
  }

  #outlet({ identity, outlets }: Producer, name: string, partition: number): Outlet {
    const key = `${name}/${partition}`;
    const topic = this.#cluster.topic(name);
    let outlet = outlets.get(key);
    if (topic !== undefined && (outlet === undefined || outlet.topic.id !== topic.id)) {
      outlet = new Outlet(topic, partition, false, identity, Number.POSITIVE_INFINITY);
      outlets.set(key, outlet);
    }
    if (outlet === undefined) throw new Error(`topic ${name} has just been deleted`);
    return outlet;
  }

  #current(): Promise<Producer> {
    if (this.#producer === null) {
      const producer = this.#begin();
      this.#producer = producer;
      producer.catch(() => {
        if (this.#producer === producer) this.#producer = null;
      });
    }
    return this.#producer;
  }

  async #begin(): Promise<Producer> {
    const request = { transactionalId: null, transactionTimeoutMs: 0, current: null };
    const ask = async (): Promise<InitializedProducer> => {
      const answer = await this.#cluster.any(initProducerId, request);
      checkCode(answer.errorCode, "a producer id");
      return answer;
    };
    const { patienceMs } = this.#cluster;
    const { producer: identity } = await patiently("a producer id", ask, { patienceMs });
    return { identity, outlets: new Map() };
  }
}
