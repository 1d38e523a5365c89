import fc from "fast-check";
import { AssignerProtocol, type Cluster, type Logger, type PartitionAssigner } from "kafkajs";
import { expect, it } from "vitest";
import type { Member } from "./assign.ts";
import { partitionAssigner, readMember } from "./partition-assigner.ts";

const { MemberAssignment, MemberMetadata } = AssignerProtocol;

/** What kafkajs makes of it, where topics have so many partitions. */
function made(
  assigner: PartitionAssigner,
  topics: Record<string, number> = {},
): ReturnType<PartitionAssigner> {
  const cluster = {
    findTopicPartitionMetadata: (topic: string) => new Array<object>(topics[topic] ?? 0).fill({}),
  };
  return assigner({ cluster: cluster as unknown as Cluster, groupId: "g", logger: {} as Logger });
}

const saying = (member: Omit<Member, "id">): ReturnType<PartitionAssigner> =>
  made(
    partitionAssigner(
      () => member,
      () => {},
    ),
  );

const numbers = fc.array(fc.nat(1_000));

it("carries what a member says of itself, in the form that Kafka's tools read", () => {
  fc.assert(
    fc.property(numbers, numbers, fc.nat(), (holds, knows, toldAtMs) => {
      const { name, metadata } = saying({ holds, toldAtMs, knows }).protocol({ topics: ["a", "b"] });
      expect(name).toBe("millrace");
      expect(readMember("m", metadata)).toEqual({ id: "m", holds, toldAtMs, knows });
      expect(MemberMetadata.decode(metadata)).toMatchObject({ version: 0, topics: ["a", "b"] });
    }),
  );
});

it("assigns partition numbers of all topics together, of each topic what it has, and tells how many there were", async () => {
  let told: ReadonlyMap<string, number> = new Map();
  const assigner = made(
    partitionAssigner(
      () => ({ holds: [], toldAtMs: 0, knows: [] }),
      (counts) => {
        told = counts;
      },
    ),
    { wide: 4, narrow: 2 },
  );
  const member = (memberId: string, holds: readonly number[]) => ({
    memberId,
    memberMetadata: saying({ holds, toldAtMs: 1, knows: [] }).protocol({ topics: [] }).metadata,
  });
  const assignments = await assigner.assign({
    members: [member("one", [1, 3]), member("two", [])],
    topics: ["wide", "narrow"],
  });
  const read = assignments.map(({ memberId, memberAssignment }) => [
    memberId,
    MemberAssignment.decode(memberAssignment)?.assignment,
  ]);
  expect(Object.fromEntries(read)).toEqual({
    one: { wide: [1, 3], narrow: [1] },
    two: { wide: [0, 2], narrow: [0] },
  });
  expect([...told]).toEqual([
    ["wide", 4],
    ["narrow", 2],
  ]);
});

it("takes a member that it cannot understand for one that holds nothing", () => {
  const nothing = { id: "m", holds: [], toldAtMs: 0, knows: [] };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const { id, holds, knows } = readMember("m", Buffer.from(bytes));
      expect([id, Array.isArray(holds), Array.isArray(knows)]).toEqual(["m", true, true]);
    }),
  );
  const strange = { holds: ["x", -1, 0.5], toldAtMs: "y", knows: 3 } as unknown as Omit<Member, "id">;
  expect(readMember("m", saying(strange).protocol({ topics: [] }).metadata)).toEqual(nothing);
});
