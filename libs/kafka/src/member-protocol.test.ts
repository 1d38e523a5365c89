import fc from "fast-check";
import { AssignerProtocol } from "kafkajs";
import { expect, it } from "vitest";
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from "./member-protocol.ts";

const numbers = fc.array(fc.nat(1_000));

it("carries what a member says of itself, in the form that Kafka's tools read", () => {
  fc.assert(
    fc.property(numbers, numbers, fc.integer({ min: -1 }), (holds, knows, generation) => {
      const bytes = Buffer.from(encodeSubscription(["a", "b"], { holds, generation, knows }));
      expect(decodeSubscription("m", bytes)).toEqual({ id: "m", holds, generation, knows });
      expect(AssignerProtocol.MemberMetadata.decode(bytes)).toMatchObject({ version: 0, topics: ["a", "b"] });
    }),
  );
});

it("carries an assignment, of each topic what it has", () => {
  const counts = new Map([
    ["a", 3],
    ["b", 1],
  ]);
  const bytes = Buffer.from(encodeAssignment([0, 2], counts));
  expect(decodeAssignment(bytes)).toEqual([0, 2]);
  expect(AssignerProtocol.MemberAssignment.decode(bytes)?.assignment).toEqual({ a: [0, 2], b: [0] });
  expect(decodeAssignment(Buffer.alloc(0))).toEqual([]);
});

it("takes a member that it cannot understand for one that holds nothing", () => {
  const nothing = { id: "m", holds: [], generation: -1, knows: [] };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const { id, holds, knows } = decodeSubscription("m", Buffer.from(bytes));
      expect([id, Array.isArray(holds), Array.isArray(knows)]).toEqual(["m", true, true]);
    }),
  );
  const strange = encodeSubscription([], {
    holds: ["x", -1, 0.5] as unknown as number[],
    generation: "y" as never,
    knows: 3 as never,
  });
  expect(decodeSubscription("m", Buffer.from(strange))).toEqual(nothing);
});
