import { describe, expect, it } from "vitest";
import { admitted, facts, report, STARTED_AT_MS } from "./fixtures.ts";
import { between, timeline } from "./timeline.ts";

describe("the timeline of a loop", () => {
  it("leads from the shock to the swap, each stage with its time", () => {
    const loop = timeline(facts);
    expect(loop.state).toBe("complete");
    expect(loop.version).toBe(3);
    expect(loop.stages.every(({ atMs }) => atMs !== null)).toBe(true);
    const times = loop.stages.map(({ atMs }) => atMs as number);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(between(loop, "shock", "swapped")).toBe(19_400);
    expect(between(loop, "promoted", "swapped")).toBe(400);
  });

  it("waits until the shock is sent", () => {
    const loop = timeline({ ...facts, shock: { eventTimeMs: report.time, atMs: null } });
    expect(loop.state).toBe("waiting");
    expect(loop.stages.every(({ atMs }) => atMs === null)).toBe(true);
  });

  it("does not take a report from before the shock for its effect", () => {
    const loop = timeline({ ...facts, shock: { eventTimeMs: report.time + 1, atMs: 1 } });
    expect(loop.report).toBeNull();
    expect(loop.state).toBe("waiting");
  });

  it("is not complete before the promoted version serves", () => {
    const loop = timeline({ ...facts, swaps: facts.swaps.slice(0, 1) });
    expect(loop.state).toBe("running");
    expect(between(loop, "shock", "swapped")).toBeNull();
  });

  it("ends without a promotion when the judge refuses the candidate, and goes on with the next report", () => {
    const [run] = facts.runs;
    const refused = {
      ...facts,
      changes: [],
      swaps: [],
      runs: [{ ...run, state: "rejected", version: 0 } as never],
    };
    expect(timeline(refused).state).toBe("ended");
    const stillRunning = { ...refused, runs: [] };
    expect(timeline(stillRunning).state).toBe("running");
    const later = { ...report, id: "later", time: report.time + 1 };
    const next = {
      ...refused,
      reports: [...facts.reports, { report: later, atMs: 1 }],
      decisions: [...facts.decisions, { ...admitted, id: "d3", cause: later.id, runId: "run-3" }],
    };
    expect(timeline(next)).toMatchObject({ state: "running", runId: "run-3" });
  });

  it("measures from the first report after the shock, whichever one was admitted in the end", () => {
    const early = { ...report, id: "early", time: report.time - 60_000 };
    const loop = timeline({
      ...facts,
      reports: [{ report: early, atMs: STARTED_AT_MS + 40_000 }, ...facts.reports],
    });
    expect(loop).toMatchObject({ state: "complete", report: { id: "early" }, decision: { id: "d2" } });
    expect(between(loop, "shock", "drift")).toBe(4_000);
  });

  it("stays with the loop that the shock began when others follow", () => {
    const next = { ...report, id: "next", time: report.time + 1 };
    const loop = timeline({
      ...facts,
      reports: [...facts.reports, { report: next, atMs: STARTED_AT_MS + 90_000 }],
      decisions: [...facts.decisions, { ...admitted, id: "d3", cause: "next", runId: "run-3" }],
    });
    expect(loop).toMatchObject({ state: "complete", version: 3 });
  });

  it("shows the newest loop of a stream without a shock", () => {
    expect(timeline({ ...facts, shock: null })).toMatchObject({ state: "complete", version: 3 });
  });
});
