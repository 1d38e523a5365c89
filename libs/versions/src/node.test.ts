import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AspiredModels, championOf, type NodeModels, planNode } from "./index.ts";

const EMPTY: NodeModels = { generation: 0, ready: [], loading: [], champion: null };
const aspire = (generation: number, champion: number, ...shadows: number[]): AspiredModels => ({
  generation,
  models: [
    { version: champion, role: "champion" },
    ...shadows.map((version) => ({ version, role: "shadow" as const })),
  ],
});

describe("node plan", () => {
  it("loads what is missing, the champion first", () => {
    expect(planNode(EMPTY, aspire(1, 3, 2))).toEqual({
      generation: 1,
      load: [3, 2],
      champion: null,
      challengers: [],
      shadows: [],
      drop: [],
      settled: false,
    });
  });

  it("keeps the old champion, though no longer aspired, until the new one is ready; then drops it", () => {
    const node: NodeModels = { generation: 1, ready: [1], loading: [], champion: 1 };
    expect(planNode(node, aspire(2, 2))).toMatchObject({ load: [2], champion: 1, drop: [] });
    expect(planNode({ ...node, loading: [2] }, aspire(2, 2))).toMatchObject({ load: [], drop: [] });
    expect(planNode({ ...node, ready: [1, 2] }, aspire(2, 2))).toMatchObject({
      champion: 2,
      drop: [1],
      settled: true,
    });
  });

  it("ignores an older generation and repeats nothing for the same one", () => {
    const node: NodeModels = { generation: 5, ready: [2, 3], loading: [], champion: 3 };
    expect(planNode(node, aspire(4, 1))).toBeNull();
    expect(planNode(node, aspire(5, 3, 2))).toEqual({
      generation: 5,
      load: [],
      champion: 3,
      challengers: [],
      shadows: [2],
      drop: [],
      settled: true,
    });
  });

  it("does not shadow with the version that answers meanwhile", () => {
    const node: NodeModels = { generation: 1, ready: [2], loading: [], champion: 2 };
    expect(planNode(node, aspire(2, 3, 2))).toMatchObject({ champion: 2, shadows: [] });
  });

  it("names a challenger once it is ready, and goes on without it until then", () => {
    const set: AspiredModels = {
      generation: 2,
      models: [
        { version: 3, role: "champion" },
        { version: 4, role: "challenger" },
      ],
    };
    const node: NodeModels = { generation: 1, ready: [3], loading: [], champion: 3 };
    const none = { champion: 3, challengers: [], shadows: [], drop: [] };
    expect(planNode(node, set)).toMatchObject({ ...none, load: [4], settled: false });
    expect(planNode({ ...node, ready: [3, 4] }, set)).toMatchObject({
      ...none,
      challengers: [4],
      settled: true,
    });
    expect(planNode({ ...node, ready: [4], champion: 4 }, set)).toMatchObject({
      champion: 4,
      challengers: [],
    });
  });

  it("goes on with what it has when nothing is aspired", () => {
    const node: NodeModels = { generation: 0, ready: [2], loading: [], champion: 2 };
    expect(planNode(node, { generation: 0, models: [] })).toMatchObject({ champion: 2, drop: [], load: [] });
  });

  it("serves without a gap and ends at the newest set, whatever order sets and loads come in (V1, V5)", () => {
    const set = fc.tuple(
      fc.nat(12),
      fc.integer({ min: 1, max: 6 }),
      fc.option(fc.integer({ min: 1, max: 6 })),
      fc.constantFrom("shadow" as const, "challenger" as const),
    );
    const event = fc.oneof(
      set.map(([generation, champion, other, role]) => ({
        kind: "set" as const,
        aspired: {
          generation: generation + 1,
          models: [
            { version: champion, role: "champion" as const },
            ...(other === null || other === champion ? [] : [{ version: other, role }]),
          ],
        },
      })),
      fc.record({ kind: fc.constant("loaded" as const), pick: fc.nat(5), fails: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        let node = EMPTY;
        let newest: AspiredModels = { generation: 0, models: [] };
        const sets = new Map<number, AspiredModels>();
        const act = (aspired: AspiredModels): void => {
          const plan = planNode(node, aspired);
          if (plan === null) {
            expect(aspired.generation).toBeLessThan(node.generation);
            return;
          }
          newest = aspired;
          if (node.champion !== null) expect(plan.champion).not.toBeNull();
          if (plan.champion !== null) {
            expect(node.ready).toContain(plan.champion);
            expect(plan.drop).not.toContain(plan.champion);
            const beside = [...plan.challengers, ...plan.shadows];
            expect(node.ready).toEqual(expect.arrayContaining(beside));
            expect(beside).not.toContain(plan.champion);
          }
          expect(plan.generation).toBeGreaterThanOrEqual(node.generation);
          node = {
            generation: plan.generation,
            ready: node.ready.filter((version) => !plan.drop.includes(version)),
            loading: [...node.loading, ...plan.load],
            champion: plan.champion,
          };
        };
        const finish = (version: number, fails: boolean): void => {
          node = {
            ...node,
            loading: node.loading.filter((other) => other !== version),
            ready: fails ? node.ready : [...node.ready, version],
          };
          act(newest);
        };
        for (const step of events) {
          if (step.kind === "set") {
            const known = sets.get(step.aspired.generation) ?? step.aspired;
            sets.set(known.generation, known);
            act(known);
          } else {
            const version = node.loading[step.pick];
            if (version !== undefined) finish(version, step.fails);
          }
        }
        act(newest);
        while (node.loading.length > 0) finish(node.loading[0] as number, false);
        expect(node.champion).toBe(championOf(newest));
        expect(new Set(node.ready)).toEqual(new Set(newest.models.map((model) => model.version)));
      }),
      { numRuns: 500 },
    );
  });
});
