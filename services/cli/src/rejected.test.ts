import { lineTopics } from "@millrace/contracts";
import { createMemoryBroker } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { readRejections } from "./rejected.ts";

describe("readRejections", () => {
  it("gives what ingest refused, with reason and origin, and without ingest's own headers", async () => {
    const broker = createMemoryBroker();
    await broker.ensureTopics(lineTopics("flights"), 2);
    for (const [offset, partition] of [
      [3, 0],
      [7, 0],
      [9, 1],
    ] as const) {
      const headers = {
        note: "kept",
        "mr-reason": "not-json",
        "mr-origin": `flights.departures/${partition}/${offset}`,
        "mr-source": `flights.departures/${partition}/${offset}/0`,
      };
      broker.write([{ topic: "flights.rejected", partition, key: null, value: `value ${offset}`, headers }]);
    }
    const found: string[] = [];
    await readRejections(broker, "flights", ({ at, origin, reason, headers }) =>
      found.push(`${at} ${origin?.offset} ${reason} ${Object.keys(headers)}`),
    );
    expect(found).toEqual(["0/0 3 not-json note", "0/1 7 not-json note", "1/0 9 not-json note"]);
  });
});
