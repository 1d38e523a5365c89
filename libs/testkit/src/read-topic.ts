import type { Broker, StreamRecord } from "@millrace/stream";

/** All records of a topic up to its present end, partition after partition. */
export async function readTopic(broker: Broker, topic: string): Promise<StreamRecord[]> {
  const all: StreamRecord[] = [];
  for (const { partition, first, end } of await broker.offsets(topic)) {
    for await (const records of broker.read(topic, partition, first, end)) all.push(...records);
  }
  return all;
}
