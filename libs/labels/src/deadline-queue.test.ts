import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DeadlineQueue } from "./deadline-queue.ts";
import { EntryTable, STATE } from "./entry-table.ts";

const SPAN = 60_000;

/** Times close together, so that buckets fill; and far apart, so that whole rounds of the ring lie empty. */
const time = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 200 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 10 * SPAN }) },
  { weight: 1, arbitrary: fc.integer({ min: -1e13, max: 1e13 }) },
);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("add" as const), time }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), which: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("due" as const), time }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("first" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  ),
  { maxLength: 200 },
);

describe("deadline queue", () => {
  it("gives what a list gives that is sorted each time", () => {
    fc.assert(
      fc.property(steps, (list) => {
        let table = new EntryTable(null);
        let queue = new DeadlineQueue(table, SPAN, null);
        let naive: { slot: number; time: number }[] = [];
        const first = (): number => naive.toSorted((a, b) => a.time - b.time)[0]?.slot ?? -1;
        const drop = (slot: number): void => {
          queue.remove(slot);
          table.remove(slot);
          naive = naive.filter((one) => one.slot !== slot);
        };
        list.forEach((step, i) => {
          switch (step.kind) {
            case "add": {
              const slot = table.add({ high: i, low: i });
              // The sequence number wraps round within the run.
              table.reset(slot, STATE.waiting, step.time, 0, 2 ** 31 - 20 + i);
              queue.add(slot);
              naive.push({ slot, time: step.time });
              break;
            }
            case "remove": {
              const one = naive[step.which % naive.length];
              if (one !== undefined) drop(one.slot);
              break;
            }
            case "due": {
              const due: number[] = [];
              for (let slot = queue.due(step.time); slot >= 0; slot = queue.due(step.time)) {
                due.push(slot);
                queue.remove(slot);
              }
              const expected = naive.filter((one) => one.time + SPAN < step.time);
              expect(due).toEqual(expected.toSorted((a, b) => a.time - b.time).map(({ slot }) => slot));
              naive = naive.filter((one) => one.time + SPAN >= step.time);
              for (const slot of due) table.remove(slot);
              break;
            }
            case "first": {
              expect(queue.first()).toBe(first());
              if (first() >= 0) drop(first());
              break;
            }
            case "restart": {
              const saved = structuredClone({ table: table.snapshot(), queue: queue.snapshot() });
              table = new EntryTable(saved.table);
              queue = new DeadlineQueue(table, SPAN, saved.queue);
              break;
            }
          }
          expect(queue.size).toBe(naive.length);
        });
      }),
      { numRuns: 500 },
    );
  });
});
