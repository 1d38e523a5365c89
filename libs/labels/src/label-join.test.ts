import type { AcceptedEvent, FeatureVector } from "@millrace/contracts";
import type { LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LabelJoin } from "./index.ts";

const line = {
  label: { name: "late", from: "told", match: "ref", positive: { field: "v", above: 0 }, waitFor: "1h" },
} as unknown as LineDefinition;
const vector = (id: string, time: number): FeatureVector => ({ id, time, values: [1], features: "f" });
const label = (id: string, time: number): AcceptedEvent => ({
  id: `label-${id}`,
  stream: "told",
  time,
  data: { ref: id },
});

describe("label join", () => {
  it("gives one example per pair, whichever of the two comes first", () => {
    const order = fc.uniqueArray(
      fc.tuple(fc.constantFrom("vector", "label"), fc.integer({ min: 0, max: 20 })),
      {
        selector: ([kind, id]) => `${kind}${id}`,
      },
    );
    fc.assert(
      fc.property(order, fc.nat(), (steps, cut) => {
        let join = new LabelJoin(line, null);
        const examples = steps.flatMap(([kind, id], i) => {
          if (i === cut % steps.length) join = new LabelJoin(line, structuredClone(join.snapshot()));
          return (
            (kind === "vector"
              ? join.addVector(vector(`${id}`, 1))
              : join.addLabel(label(`${id}`, 2), true)) ?? []
          );
        });
        const both = steps.filter(
          ([kind, id]) => kind === "vector" && steps.some(([k, other]) => k === "label" && other === id),
        );
        expect(new Set(examples.map((one) => one.id))).toEqual(new Set(both.map(([, id]) => `${id}`)));
        expect(examples).toHaveLength(both.length);
        expect(join.counts.matched).toBe(both.length);
      }),
    );
  });

  it("knows a label from the moment of its event, never before the vector's own time", () => {
    const join = new LabelJoin(line, null);
    join.addVector(vector("a", 100));
    expect(join.addLabel(label("a", 250), false)).toMatchObject({ time: 100, knownAt: 250, label: 0 });
    join.addVector(vector("b", 100));
    expect(join.addLabel(label("b", 40), true)?.knownAt).toBe(100);
  });

  it("forgets and counts what waits too long", () => {
    const join = new LabelJoin(line, null);
    join.addVector(vector("a", 0));
    join.addLabel(label("b", 0), true);
    join.expire(3_600_000);
    expect(join.waiting).toBe(1);
    join.expire(3_600_001);
    expect(join.waiting).toBe(0);
    expect(join.counts).toEqual({ matched: 0, expired: 1, unmatched: 1 });
  });
});
