import { sleep } from "@millrace/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Called, calling, createCaller, failedOf, rowsOf } from "./inference/callers.ts";
import { addModel } from "./inference/models.ts";
import { type InferenceProcess, report, type Stage, startStage, until } from "./inference/stage.ts";
import { TamperingStore } from "./inference/tampering-store.ts";

/** Versions that replace each other in the inference service, a process, while somebody calls it. */
let stage: Stage;
let store: TamperingStore;
let node: InferenceProcess;

beforeAll(async () => {
  stage = await startStage();
  await stage.define({ name: "swapped", title: "swapped" });
  await stage.promote("swapped", await stage.register("swapped", addModel(1)));
  store = await TamperingStore.start(stage.s3Port);
  node = await stage.startInference({ MILLRACE_S3_URL: store.url });
  await until(async () => (await node.champion("swapped")) === 1);
}, 300_000);
afterAll(async () => {
  await store?.stop();
  await stage?.stop();
});

describe("a swap", () => {
  it("every 100 ms, to the same and back again, fails no request and ends at the newest", async () => {
    const offsets = new Map<string, number>();
    for (let by = 2; by < 22; by++) {
      offsets.set(String(await stage.register("swapped", addModel(by))), by);
    }
    offsets.set("1", 1);
    const versions = [...offsets.keys()].map(Number);
    const counts = { promotions: 0, rollbacks: 0, same: 0 };
    let last = 1;
    const rssBefore = await node.rssBytes();
    const calls = await calling(
      node.grpc,
      () => rowsOf("swapped", 1),
      8,
      async () => {
        const end = Date.now() + 20_000;
        for (let i = 0; Date.now() < end; i++) {
          const next = versions[(i * 7) % versions.length] as number;
          if (i % 7 === 3) {
            await stage.registry.rollback({ line: "swapped", toVersion: 0n, reason: "test" });
            counts.rollbacks++;
          } else {
            const version = i % 7 === 5 ? last : next;
            await stage.promote("swapped", version);
            if (version === last) counts.same++;
            else counts.promotions++;
            last = version;
          }
          await sleep(100);
        }
        last = versions[0] as number;
        await stage.promote("swapped", last);
        await until(async () => (await node.champion("swapped")) === last);
      },
    );
    expect(failedOf(calls)).toEqual([]);
    const answered = new Set<string>();
    for (const called of calls) {
      if (!called.ok) continue;
      answered.add(called.version);
      expect(called.y).toBeCloseTo(1 + (offsets.get(called.version) as number), 4);
    }
    await until(async () => {
      const loaded = (await node.status("swapped"))?.details["loaded"] as number[];
      return loaded[0] === last && loaded.length <= 3;
    });
    const grown = Math.round(((await node.rssBytes()) - rssBefore) / 2 ** 20);
    report(
      `swaps: ${JSON.stringify(counts)} in 20 s, ${calls.length} calls from ${answered.size} versions, 0 failed, ` +
        `p99 ${percentile(calls, 0.99)} ms, memory +${grown} MiB`,
    );
  }, 120_000);

  it("that is killed is taken up from the disk, without registry and store, and then to its end", async () => {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const before = await node.champion("swapped");
      const version = await stage.register("swapped", addModel(40 + round));
      await stage.promote("swapped", version);
      await sleep(100 + 150 * round);
      await node.end("SIGKILL");
      await stage.stopRegistry();
      store.tampering = "an error";
      const startedAt = Date.now();
      node.start();
      await until(() => node.ready());
      times.push(Date.now() - startedAt);
      expect([before, version]).toContain(await node.champion("swapped"));
      const caller = createCaller(node.grpc);
      expect(await caller.infer(rowsOf("swapped", 1))).toMatchObject({ ok: true });
      caller.close();
      store.tampering = "none";
      await stage.startRegistry();
      await until(async () => (await node.champion("swapped")) === version);
    }
    report(`kill -9 in mid-swap: ready from disk after ${times.join(", ")} ms`);
  }, 120_000);

  it("comes without NATS, a little later, and at once when it is back", async () => {
    const timed = async (by: number): Promise<number> => {
      const version = await stage.register("swapped", addModel(by));
      await stage.promote("swapped", version);
      const promotedAt = Date.now();
      await until(async () => (await node.champion("swapped")) === version);
      return Date.now() - promotedAt;
    };
    const times: Record<string, number> = {};
    const calls = await calling(
      node.grpc,
      () => rowsOf("swapped", 1),
      2,
      async () => {
        times["there"] = await timed(50);
        process.kill(stage.natsPid(), "SIGSTOP");
        times["silent"] = await timed(51);
        process.kill(stage.natsPid(), "SIGCONT");
        times["back"] = await timed(52);
        process.kill(stage.natsPid(), "SIGKILL");
        times["killed"] = await timed(53);
        await sleep(3_000);
        times["started again"] = await timed(54);
      },
    );
    expect(failedOf(calls)).toEqual([]);
    for (const ms of Object.values(times)) expect(ms).toBeLessThan(6_000);
    report(
      `NATS: ms until a promoted version serves: ${JSON.stringify(times)}; ${calls.length} calls, 0 failed`,
    );
  }, 120_000);
});

function percentile(calls: readonly Called[], share: number): number {
  const sorted = calls.map(({ ms }) => ms).sort((a, b) => a - b);
  return Math.round(sorted[Math.floor(sorted.length * share)] as number);
}
