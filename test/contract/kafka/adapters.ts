import { createKafkaBroker } from "@millrace/kafka";
import { createLog } from "@millrace/runtime";
import {
  type Broker,
  FencedError,
  headerText,
  memberFile,
  passingMember,
  type Writer,
} from "@millrace/stream";
import kafkajs from "kafkajs";

/** Where a broker is, and who may come in. */
export interface Access {
  readonly brokers: readonly string[];
  readonly sasl: { readonly username: string; readonly password: string };
}

export interface ValueWriter {
  /** Writes values in order to partition 0; resolves when they are acknowledged. */
  write(values: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

export interface Reading {
  readonly topic: string;
  readonly group: string;
  /** The next values of the partition come when it has resolved. */
  readonly onValues: (values: readonly string[], partition: number) => Promise<void>;
  readonly onFailed: (error: unknown) => void;
}

export interface Copying {
  readonly from: string;
  readonly to: string;
  readonly group: string;
  /** A file that is one process's own, over its restarts. */
  readonly memory: string;
  readonly onFailed: (error: unknown) => void;
}

interface Stoppable {
  stop(): Promise<void>;
}

/** What the kit asks of a client. */
export interface Client extends Stoppable {
  /** With a name: whoever had it before writes no more. */
  writer(topic: string, name: string | null): Promise<ValueWriter>;
  /** Goes on where the group has left off; a new group at the start. */
  read(reading: Reading): Promise<Stoppable>;
  /** Writes each value once to the partition of the same number of another topic, as a member of a group. */
  copy(copying: Copying): Promise<Stoppable>;
}

export type AdapterName = "millrace" | "kafkajs";
export const ADAPTERS: readonly AdapterName[] = ["millrace", "kafkajs"];

/** What a client does not offer at all, of what could be asked of it. */
export const NOT_OFFERED: Readonly<Record<AdapterName, readonly string[]>> = {
  millrace: [
    "TLS client certificates renewed while connected",
    "OAUTHBEARER",
    "SCRAM",
    "compressed batches written",
  ],
  kafkajs: [
    "snappy, lz4, zstd without further packages",
    "an error instead of a silent reset of the position",
  ],
};

export function openClient(adapter: AdapterName, access: Access): Client {
  return adapter === "millrace" ? new Millrace(access) : new KafkaJs(access);
}

const textOf = (value: Uint8Array | null): string => Buffer.from(value ?? []).toString();

class Millrace implements Client {
  readonly #broker: Broker;
  /** By group and partition: where reading goes on; a step keeps it in its checkpoint. */
  readonly #positions = new Map<string, number>();

  constructor({ brokers, sasl }: Access) {
    this.#broker = createKafkaBroker({
      clientId: "kit-millrace",
      brokers,
      sasl,
      log: createLog("kit", "silent"),
    });
  }

  async writer(topic: string, name: string | null): Promise<ValueWriter> {
    const writer = await this.#broker.writer(name ?? `kit-${topic}`, 0, [topic]);
    let offset = 0;
    return {
      write: async (values) => {
        for (const value of values) {
          writer.append(
            topic,
            { key: null, value },
            { topic: "kit", partition: 0, offset: offset++, index: 0 },
          );
        }
        await writer.flush();
      },
      stop: () => writer.stop(),
    };
  }

  read({ topic, group, onValues, onFailed }: Reading): Promise<Stoppable> {
    const key = (partition: number): string => `${group} ${topic}/${partition}`;
    return this.#broker.consume({
      group,
      topics: [topic],
      member: passingMember(),
      onAssigned: async (partition) => new Map([[topic, this.#positions.get(key(partition)) ?? null]]),
      onRevoked: async () => {},
      onBatch: async ({ partition, records, nextOffset }) => {
        await onValues(
          records.map((record) => textOf(record.value)),
          partition,
        );
        this.#positions.set(key(partition), nextOffset);
      },
      onFailed,
    });
  }

  copy({ from, to, group, memory, onFailed }: Copying): Promise<Stoppable> {
    const broker = this.#broker;
    const writers = new Map<number, Writer>();
    return broker.consume({
      group,
      topics: [from],
      member: memberFile(memory),
      onAssigned: async (partition) => {
        const writer = await broker.writer(group, partition, [to]);
        writers.set(partition, writer);
        // What stands in the output says how far its writers have come.
        let next = 0;
        for await (const records of broker.read(to, partition, 0, writer.ends.get(to) ?? 0)) {
          for (const record of records) next = Number(headerText(record, "mr-source")?.split("/")[2]) + 1;
        }
        return new Map([[from, next]]);
      },
      onRevoked: async (partition) => {
        await writers.get(partition)?.stop();
        writers.delete(partition);
      },
      onBatch: async ({ partition, records }) => {
        const writer = writers.get(partition);
        for (const { value, offset } of records) {
          writer?.append(to, { key: null, value }, { topic: from, partition, offset, index: 0 });
        }
        await writer?.flush().catch((error: unknown) => {
          // Whoever is fenced or stopped has lost the partition; another goes on with it.
          if (!(error instanceof FencedError) && writers.get(partition) === writer) throw error;
        });
      },
      onFailed,
    });
  }

  stop(): Promise<void> {
    return this.#broker.stop();
  }
}

const RETRY = { initialRetryTime: 100, maxRetryTime: 2_000, retries: 60 };

class KafkaJs implements Client {
  readonly #kafka: kafkajs.Kafka;

  constructor({ brokers, sasl }: Access) {
    this.#kafka = new kafkajs.Kafka({
      clientId: "kit-kafkajs",
      brokers: [...brokers],
      sasl: { mechanism: "plain", ...sasl },
      connectionTimeout: 3_000,
      requestTimeout: 20_000,
      retry: RETRY,
      logLevel: kafkajs.logLevel.NOTHING,
    });
  }

  async writer(topic: string, name: string | null): Promise<ValueWriter> {
    const producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      retry: RETRY,
      ...(name === null ? {} : { transactionalId: name }),
    });
    await producer.connect();
    return {
      write: async (values) => {
        const batch = {
          topic,
          acks: -1,
          messages: values.map((value) => ({ partition: 0, key: null, value })),
        };
        if (name === null) {
          await producer.send(batch);
          return;
        }
        const transaction = await producer.transaction();
        await transaction.send(batch);
        await transaction.commit();
      },
      stop: () => producer.disconnect(),
    };
  }

  async read({ topic, group, onValues, onFailed }: Reading): Promise<Stoppable> {
    return this.#consume(group, topic, onFailed, async ({ batch, resolveOffset, heartbeat }) => {
      const beating = setInterval(() => void heartbeat().catch(() => {}), 500);
      try {
        await onValues(
          batch.messages.map((message) => textOf(message.value)),
          batch.partition,
        );
      } finally {
        clearInterval(beating);
      }
      resolveOffset(batch.lastOffset());
    });
  }

  async copy({ from, to, group, onFailed }: Copying): Promise<Stoppable> {
    const producer = this.#kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: RETRY });
    await producer.connect();
    const consumer = await this.#consume(group, from, onFailed, async ({ batch, resolveOffset }) => {
      const { partition, messages } = batch;
      await producer.send({
        topic: to,
        acks: -1,
        messages: messages.map(({ value }) => ({ partition, key: null, value })),
      });
      resolveOffset(batch.lastOffset());
    });
    return {
      stop: async () => {
        await consumer.stop();
        await producer.disconnect();
      },
    };
  }

  async stop(): Promise<void> {}

  async #consume(
    groupId: string,
    topic: string,
    onFailed: (error: unknown) => void,
    eachBatch: kafkajs.EachBatchHandler,
  ): Promise<Stoppable> {
    const consumer = this.#kafka.consumer({
      groupId,
      sessionTimeout: 6_000,
      heartbeatInterval: 500,
      rebalanceTimeout: 10_000,
      maxWaitTimeInMs: 100,
      metadataMaxAge: 5_000,
      allowAutoTopicCreation: false,
      retry: { ...RETRY, restartOnFailure: async () => true },
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => onFailed(payload.error));
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({ eachBatchAutoResolve: false, partitionsConsumedConcurrently: 8, eachBatch });
    return { stop: () => consumer.disconnect() };
  }
}
