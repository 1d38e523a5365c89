import { AssignerProtocol, type PartitionAssigner } from "kafkajs";
import { assign, type Member } from "./assign.ts";

const { MemberAssignment, MemberMetadata } = AssignerProtocol;

/** All members of a group must offer it; tools show it. */
const NAME = "millrace";
const VERSION = 0;
const NOTHING = Buffer.alloc(0);

/**
 * `assign` for kafkajs. What a member says of itself (`describe`, asked whenever it joins) is JSON in the user data of
 * its subscription. The member that assigns for all answers by `onAssigned` how many partitions each topic had.
 */
export function partitionAssigner(
  describe: () => Omit<Member, "id">,
  onAssigned: (counts: ReadonlyMap<string, number>) => void,
): PartitionAssigner {
  return ({ cluster }) => ({
    name: NAME,
    version: VERSION,
    protocol: ({ topics }) => ({
      name: NAME,
      metadata: MemberMetadata.encode({
        version: VERSION,
        topics,
        userData: Buffer.from(JSON.stringify(describe())),
      }),
    }),
    assign: async ({ members, topics }) => {
      const counts = new Map(
        topics.map((topic) => [topic, cluster.findTopicPartitionMetadata(topic).length]),
      );
      onAssigned(counts);
      const described = members.map(({ memberId, memberMetadata }) => readMember(memberId, memberMetadata));
      return [...assign(described, Math.max(0, ...counts.values()))].map(([memberId, partitions]) => ({
        memberId,
        memberAssignment: MemberAssignment.encode({
          version: VERSION,
          assignment: ofTopics(partitions, counts),
          userData: NOTHING,
        }),
      }));
    },
  });
}

/** A subscription that cannot be read is one of a member that holds nothing. */
export function readMember(id: string, metadata: Buffer): Member {
  try {
    const userData = MemberMetadata.decode(metadata)?.userData ?? NOTHING;
    const { holds, toldAtMs, knows } = JSON.parse(userData.toString()) as Record<string, unknown>;
    return {
      id,
      holds: partitionNumbers(holds),
      toldAtMs: typeof toldAtMs === "number" ? toldAtMs : 0,
      knows: partitionNumbers(knows),
    };
  } catch {
    return { id, holds: [], toldAtMs: 0, knows: [] };
  }
}

/** Of each topic the partitions that it has. */
function ofTopics(
  partitions: readonly number[],
  counts: ReadonlyMap<string, number>,
): Record<string, number[]> {
  return Object.fromEntries(
    [...counts].map(([topic, count]) => [topic, partitions.filter((partition) => partition < count)]),
  );
}

function partitionNumbers(value: unknown): number[] {
  return Array.isArray(value) ? value.filter((one) => Number.isInteger(one) && one >= 0) : [];
}
