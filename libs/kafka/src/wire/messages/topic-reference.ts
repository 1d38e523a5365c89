import type { ByteReader } from "../byte-reader.ts";
import type { ByteWriter } from "../byte-writer.ts";

/** From Produce v13 and Fetch v13 on, topics are named by id: a topic that was made anew is another one. */
const BY_ID_FROM = 13;

export interface TopicReference {
  readonly name: string;
  /** 32 hex digits. */
  readonly id: string;
}

/** Writes `[topic, partitions [what writePartition writes], tags]`. */
export function writeByTopic<T extends { readonly topic: TopicReference }>(
  to: ByteWriter,
  partitions: readonly T[],
  version: number,
  writePartition: (partition: T) => void,
): void {
  to.compactArray([...Map.groupBy(partitions, (one) => one.topic.id)], ([id, ofTopic]) => {
    if (version >= BY_ID_FROM) to.uuid(id);
    else to.compactString((ofTopic[0] as T).topic.name);
    to.compactArray(ofTopic, writePartition).tags();
  });
}

/** What names the topic in an answer, one of its `topicKeys`. */
export function readTopicKey(from: ByteReader, version: number): string {
  return version >= BY_ID_FROM ? idKey(from.uuid()) : from.compactString();
}

/** Both names that an answer can have for a topic. No topic's name has a `#`. */
export function topicKeys({ name, id }: TopicReference): readonly [string, string] {
  return [name, idKey(id)];
}

const idKey = (id: string): string => `#${id}`;
