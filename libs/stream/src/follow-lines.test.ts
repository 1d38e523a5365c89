import flights from "@millrace/line-flights";
import { createLog, sleep } from "@millrace/runtime";
import { describe, expect, it } from "vitest";
import { followLines } from "./index.ts";

const log = createLog("test", "silent");

describe("follow lines", () => {
  it("starts a line once, restarts it when its definition changes, and stops all", async () => {
    let look: () => void = () => {};
    let lines = [{ definitionJson: JSON.stringify(flights), digest: "a" }];
    const events: string[] = [];
    const followed = followLines(
      { list: async () => lines, onChange: (call) => ((look = call), () => {}) },
      async ({ line, digest }, former) => {
        await former?.stop();
        events.push(`start ${line.name} ${digest}`);
        return { stop: async () => void events.push(`stop ${digest}`) };
      },
      log,
    );
    await until(() => followed.ready());
    look();
    await sleep(20);
    lines = [{ definitionJson: JSON.stringify({ ...flights, title: "Changed" }), digest: "b" }];
    look();
    await until(() => events.length === 3);
    await followed.stop();
    expect(events).toEqual(["start flights a", "stop a", "start flights b", "stop b"]);
  });

  it("lets what ran go on until what takes its place stops it, and follows other lines meanwhile", async () => {
    let look: () => void = () => {};
    const other = { ...flights, name: "others", streams: flights.streams };
    let lines = [{ definitionJson: JSON.stringify(flights), digest: "a" }];
    const ready = Promise.withResolvers<void>();
    let stopped = false;
    const followed = followLines<{ digest: string; stop(): Promise<void> }>(
      { list: async () => lines, onChange: (call) => ((look = call), () => {}) },
      async ({ digest }, former) => {
        if (former !== null) await ready.promise;
        await former?.stop();
        if (digest === "none") return null;
        return { digest, stop: async () => void (stopped ||= digest === "a") };
      },
      log,
    );
    await until(() => followed.ready());
    lines = [
      { definitionJson: JSON.stringify({ ...flights, title: "Changed" }), digest: "b" },
      { definitionJson: JSON.stringify(other), digest: "none" },
    ];
    look();
    await sleep(50);
    expect([...followed.running()].map(([name, { digest }]) => [name, digest])).toEqual([["flights", "a"]]);
    expect(stopped).toBe(false);
    ready.resolve();
    await until(() => followed.running().get("flights")?.digest === "b");
    expect(stopped).toBe(true);
    expect(followed.running().has("others")).toBe(false);
    await followed.stop();
  });

  it("goes on when the registry is away or a start fails", async () => {
    let look: () => void = () => {};
    let tries = 0;
    const followed = followLines(
      {
        list: async () => {
          if (++tries === 1) throw new Error("away");
          return [{ definitionJson: JSON.stringify(flights), digest: "a" }];
        },
        onChange: (call) => ((look = call), () => {}),
      },
      async () => {
        if (tries === 2) throw new Error("cannot start");
        return { stop: async () => {} };
      },
      log,
    );
    for (let i = 0; i < 200 && followed.running().size === 0; i++) {
      look();
      await sleep(5);
    }
    expect(followed.running().size).toBe(1);
    await followed.stop();
  });
});

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !what(); i++) await sleep(5);
  expect(what()).toBe(true);
}
