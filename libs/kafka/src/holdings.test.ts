import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Holdings } from "./holdings.ts";

interface Scene {
  readonly holdings: Holdings;
  readonly calls: string[];
  /** Ends the calls that are under way. */
  finish(): Promise<void>;
  readonly failures: unknown[];
}

function scene(fails: (call: string) => boolean = () => false): Scene {
  const calls: string[] = [];
  const failures: unknown[] = [];
  let pending: (() => void)[] = [];
  const call =
    (name: string) =>
    async (partition: number): Promise<void> => {
      calls.push(`${name} ${partition}`);
      await new Promise<void>((resolve) => pending.push(resolve));
      if (fails(`${name} ${partition}`)) throw new Error(name);
    };
  const holdings = new Holdings({
    take: call("take"),
    letGo: call("let go"),
    onReleased: () => calls.push("released"),
    onFailed: (error) => failures.push(error),
  });
  const finish = async (): Promise<void> => {
    for (const resolve of pending) resolve();
    pending = [];
    await turn();
  };
  return { holdings, calls, finish, failures };
}

it("takes what is new, lets go of what is not given, and leaves the rest alone", async () => {
  const { holdings, calls, finish } = scene();
  holdings.give([0, 1]);
  await finish();
  holdings.give([1, 2]);
  expect(holdings.list()).toEqual([0, 1, 2]);
  await finish();
  expect(calls).toEqual(["take 0", "take 1", "let go 0", "take 2", "released"]);
  expect(holdings.list()).toEqual([1, 2]);
});

it("counts as held what is still being let go of, and takes it again afterwards when it comes back", async () => {
  const { holdings, calls, finish } = scene();
  holdings.give([0]);
  await finish();
  holdings.give([]);
  expect(holdings.list()).toEqual([0]);
  holdings.give([0]);
  await finish();
  await finish();
  expect(calls).toEqual(["take 0", "let go 0", "take 0"]);
  expect(holdings.list()).toEqual([0]);
});

it("lets go of what was taken back while it was being taken", async () => {
  const { holdings, calls, finish } = scene();
  holdings.give([0]);
  holdings.give([]);
  await finish();
  await finish();
  expect(calls).toEqual(["take 0", "let go 0", "released"]);
  expect(holdings.list()).toEqual([]);
});

it("tells of a failure, and does not touch that partition again", async () => {
  const { holdings, calls, finish, failures } = scene((call) => call === "take 0");
  holdings.give([0]);
  await finish();
  holdings.give([]);
  await finish();
  expect(failures).toHaveLength(1);
  expect(calls).toEqual(["take 0"]);
});

it("never takes twice or lets go twice, and ends with what was given last", async () => {
  const steps = fc.array(fc.oneof(fc.subarray([0, 1, 2]), fc.constant("finish" as const)), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(steps, async (log) => {
      const { holdings, calls, finish } = scene();
      let last: readonly number[] = [];
      for (const step of log) {
        if (step === "finish") await finish();
        else {
          last = step;
          holdings.give(step);
        }
      }
      for (let i = 0; i < 4; i++) await finish();
      expect(holdings.list()).toEqual(last);
      for (const partition of [0, 1, 2]) {
        const own = calls.filter((call) => call.endsWith(` ${partition}`));
        expect(own).toEqual(own.map((_, i) => `${i % 2 === 0 ? "take" : "let go"} ${partition}`));
      }
    }),
  );
});
