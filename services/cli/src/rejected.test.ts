import { lineTopics } from "@millrace/contracts";
import type { OutputRecord } from "@millrace/stream";
import { createMemoryBroker } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { readRejections } from "./rejected.ts";

const rejection = (offset: number): OutputRecord => ({
  topic: "flights.rejected",
  partition: 0,
  key: null,
  value: `value ${offset}`,
  headers: {
    "mr-reason": "not-json",
    "mr-origin": `flights.departures/0/${offset}`,
    "mr-source": `flights.departures/0/${offset}/0`,
  },
});

describe("readRejections", () => {
  it("gives a rejection once that ingest wrote again after a crash", async () => {
    const broker = createMemoryBroker();
    await broker.ensureTopics(lineTopics("flights"), 1);
    broker.write([3, 7, 3, 7, 9].map(rejection));
    const found: string[] = [];
    await readRejections(broker, "flights", "group", ({ at, origin }) =>
      found.push(`${at} ${origin?.offset}`),
    );
    expect(found).toEqual(["0/0 3", "0/1 7", "0/4 9"]);
  });
});
