import type { Kafka, Message } from "kafkajs";
import kafkajs from "kafkajs";
import { paymentJson, payments, type W1Parameters } from "./w1.ts";

const SEND_RECORDS = 500;

/** What a topic holds after `produceW1`. */
export interface W1Input {
  readonly topic: string;
  readonly partitions: number;
  readonly records: number;
  /** Payments that are no duplicates: one output is due for each. */
  readonly payments: number;
}

/**
 * Creates the topic and fills it with the workload, each account in the partition that Kafka's own clients choose
 * (murmur2); acknowledged by all replicas, no record twice. A million records take about 10 s.
 */
export async function produceW1(
  kafka: Kafka,
  topic: string,
  partitions: number,
  parameters: W1Parameters,
): Promise<W1Input> {
  await createTopic(kafka, topic, partitions);
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    idempotent: true,
    maxInFlightRequests: 1,
  });
  await producer.connect();
  try {
    const partitionOf = partitioner(topic, partitions);
    let [records, ids, newest] = [0, 0, ""];
    let messages: Message[] = [];
    const send = async (): Promise<void> => {
      await producer.send({ topic, acks: -1, messages });
      records += messages.length;
      messages = [];
    };
    for (const payment of payments(parameters)) {
      const { id, account } = payment;
      messages.push({ key: account, partition: partitionOf(account), value: paymentJson(payment) });
      if (id > newest) [ids, newest] = [ids + 1, id]; // ids grow; a duplicate's is an earlier one
      if (messages.length === SEND_RECORDS) await send();
    }
    if (messages.length > 0) await send();
    return { topic, partitions, records, payments: ids };
  } finally {
    await producer.disconnect();
  }
}

/** Creates an empty topic. Throws where there is one of the name already. */
export async function createTopic(kafka: Kafka, topic: string, partitions: number): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const created = await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] });
    if (!created) throw new Error(`there is a topic ${topic} already: use another name for each run`);
  } finally {
    await admin.disconnect();
  }
}

/** As kafkajs chooses a key's partition, asked once for each key. */
function partitioner(topic: string, partitions: number): (key: string) => number {
  const choose = kafkajs.Partitioners.DefaultPartitioner();
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 0,
    replicas: [],
    isr: [],
  }));
  const known = new Map<string, number>();
  return (key) => {
    const chosen = known.get(key) ?? choose({ topic, partitionMetadata, message: { key, value: null } });
    known.set(key, chosen);
    return chosen;
  };
}
