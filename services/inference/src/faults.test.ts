import { GRPCInferenceService } from "@millrace/contracts";
import { createRpcClient } from "@millrace/rpc";
import { type RpcError, sleep } from "@millrace/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { championOf, LINE, NAMES, type Node, rowOf, until, WIDTH, World } from "./testing/world.ts";

/** Callers who ask for too much, operators in a hurry, an end in the middle of things, and names that are none. */
let world: World;
beforeEach(async () => {
  world = await World.create();
  await world.aspire(1, 1);
});
afterEach(() => world.stop());

describe("a caller's budget", () => {
  it("is its own, is told when to try again, and comes back", async () => {
    const [greedy, modest] = ["greedy-0123456789", "modest-0123456789"];
    const node = await world.startNode(null, {
      MILLRACE_INFERENCE_CALLERS: new Map([
        [greedy, "greedy"],
        [modest, "modest"],
      ]),
      MILLRACE_INFERENCE_BUDGET: 20,
    });
    const clients = [greedy, modest].map((token) =>
      createRpcClient(GRPCInferenceService, node.url, { token }),
    );
    const [first, second] = clients as [(typeof clients)[0], (typeof clients)[0]];
    await until(() => node.service.ready());
    const asked = await Promise.allSettled(Array.from({ length: 100 }, () => first.modelInfer(rowOf(0))));
    const refused = asked.flatMap((one) => (one.status === "rejected" ? [one.reason as RpcError] : []));
    expect(refused.length).toBeGreaterThanOrEqual(75);
    expect(refused.length).toBeLessThanOrEqual(80);
    for (const error of refused) expect(error).toMatchObject({ code: "resourceExhausted" });
    expect(refused[0]?.message).toMatch(/budget is spent: try again in \d+ ms/);
    expect((await second.modelInfer(rowOf(0))).modelVersion).toBe("1");
    const body = JSON.stringify({
      inputs: [{ name: "features", datatype: "FP32", shape: [1, WIDTH], data: NAMES.map(() => 0) }],
    });
    const headers = { authorization: `Bearer ${greedy}` };
    const posted = await Promise.all(
      Array.from({ length: 40 }, () =>
        fetch(`${node.http}/v2/models/${LINE}/infer`, { method: "POST", headers, body }),
      ),
    );
    const hints = posted
      .filter(({ status }) => status === 429)
      .map(({ headers }) => headers.get("retry-after"));
    expect(hints.length).toBeGreaterThan(0);
    expect(new Set(hints)).toEqual(new Set(["1"]));
    await sleep(150);
    expect((await first.modelInfer(rowOf(0))).modelVersion).toBe("1");
    for (const client of clients) client.close();
  });
});

describe("load and unload", () => {
  it("of one model by many at once end in a state that is either", async () => {
    const node = await world.startNode();
    await until(() => node.service.ready());
    const { client } = node;
    for (let round = 0; round < 10; round++) {
      const calls = Array.from({ length: 20 }, (_, i) =>
        (i * 7 + round) % 3 === 0
          ? client.repositoryModelUnload({ modelName: LINE })
          : (i + round) % 4 === 0
            ? client.modelInfer(rowOf(0))
            : client.repositoryModelLoad({ modelName: LINE }),
      );
      const last = client.repositoryModelLoad({ modelName: LINE });
      for (const one of await Promise.allSettled(calls)) {
        if (one.status === "rejected") expect(one.reason).toMatchObject({ code: "unavailable" });
      }
      await last;
      expect((await client.modelInfer(rowOf(0))).modelVersion).toBe("1");
      expect(node.service.lines()[LINE]?.details).toMatchObject({ loaded: [1], parked: false, failures: [] });
    }
    await client.repositoryModelUnload({ modelName: LINE });
    expect(node.service.lines()[LINE]?.details).toMatchObject({ parked: true, memoryBytes: 0 });
  });

  it("while a newer version arrives ends at the newer", async () => {
    const node = await world.startNode();
    await until(() => node.service.ready());
    for (let version = 2; version < 12; version++) {
      const unloaded = node.client.repositoryModelUnload({ modelName: LINE });
      await world.aspire(version, version);
      await unloaded;
      await node.client.repositoryModelLoad({ modelName: LINE });
      await until(() => championOf(node) === version);
    }
  });
});

describe("the end of the process", () => {
  it("comes in time while a model loads that never arrives", async () => {
    const node = await world.startNode();
    await until(() => node.service.ready());
    const arriving = Promise.withResolvers<never>();
    world.objects.get = world.objects.getToFile = () => arriving.promise;
    await world.aspire(2, 2);
    await sleep(50);
    const stoppedAt = performance.now();
    await node.stop();
    expect(performance.now() - stoppedAt).toBeLessThan(2_500);
    arriving.reject(new Error("the test is over"));
  });
});

describe("names that JavaScript knows", () => {
  it("are names of nothing, wherever they stand", async () => {
    const node: Node = await world.startNode();
    await until(() => node.service.ready());
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect((await fetch(`${node.http}/v2/models/${name}`)).status).toBe(404);
      const flag = await fetch(`${node.http}/ofrep/v1/evaluate/flags/${name}`, {
        method: "POST",
        body: "{}",
      });
      expect(flag.status).toBe(404);
      const body = `{"id": "a", "parameters": {"${name}": 1}, "inputs": [{"name": "features", "datatype": "FP32",
        "shape": [1, ${WIDTH}], "data": [${NAMES.map(() => 0)}], "parameters": {"${name}": "x"}}]}`;
      const answer = await fetch(`${node.http}/v2/models/${LINE}/infer`, { method: "POST", body });
      expect([name, answer.status]).toEqual([name, 200]);
      expect(Object.keys((await answer.json()) as object)).toContain("outputs");
      await expect(node.client.modelInfer(rowOf(0, { outputs: [{ name }] }))).rejects.toMatchObject({
        code: "invalidArgument",
      });
    }
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });
});
