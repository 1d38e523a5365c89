import type { Member } from "./assign.ts";
import { ByteReader } from "./wire/byte-reader.ts";
import { ByteWriter } from "./wire/byte-writer.ts";

/**
 * What members tell each other, in Kafka's own forms (ConsumerProtocolSubscription and ConsumerProtocolAssignment, v0),
 * so that Kafka's tools show who has which partitions:
 *
 * ```
 * subscription: version int16, topics [string], user_data bytes
 * assignment:   version int16, topics [name string, partitions [int32]], user_data bytes
 * ```
 *
 * The user data of a subscription is ours: JSON of what `assign` needs.
 */
export function encodeSubscription(topics: readonly string[], member: Omit<Member, "id">): Uint8Array {
  const writer = new ByteWriter();
  writer.int16(0).array(topics, (topic) => writer.string(topic));
  const { holds, generation, knows } = member;
  return Buffer.concat(writer.byteArray(Buffer.from(JSON.stringify({ holds, generation, knows }))).parts());
}

/** A subscription that cannot be read is one of a member that holds nothing. */
export function decodeSubscription(id: string, metadata: Buffer): Member {
  try {
    const reader = new ByteReader(metadata);
    reader.int16();
    reader.array(() => reader.string());
    const { holds, generation, knows } = JSON.parse(reader.byteArray().toString()) as Record<string, unknown>;
    return {
      id,
      holds: partitionNumbers(holds),
      generation: typeof generation === "number" ? generation : -1,
      knows: partitionNumbers(knows),
    };
  } catch {
    return { id, holds: [], generation: -1, knows: [] };
  }
}

/** `partitions`: numbers of all topics together; `counts`: how many each topic has. */
export function encodeAssignment(
  partitions: readonly number[],
  counts: ReadonlyMap<string, number>,
): Uint8Array {
  const writer = new ByteWriter();
  writer.int16(0).array([...counts], ([topic, count]) => {
    const ofTopic = partitions.filter((partition) => partition < count);
    writer.string(topic).array(ofTopic, (partition) => writer.int32(partition));
  });
  return Buffer.concat(writer.byteArray(new Uint8Array(0)).parts());
}

/** The partition numbers, each once, ascending. No bytes are no partitions. */
export function decodeAssignment(assignment: Buffer): number[] {
  if (assignment.length === 0) return [];
  const reader = new ByteReader(assignment);
  const partitions = new Set<number>();
  reader.int16();
  reader.array(() => {
    reader.string();
    for (const partition of reader.array(() => reader.int32())) partitions.add(partition);
  });
  return [...partitions].toSorted((a, b) => a - b);
}

function partitionNumbers(value: unknown): number[] {
  return Array.isArray(value) ? value.filter((one) => Number.isInteger(one) && one >= 0) : [];
}
