import type { ChildProcess } from "node:child_process";
import { channel } from "node:diagnostics_channel";
import { getPriority } from "node:os";
import { inspectModel } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { prove } from "./proof.ts";
import { createProver, type ProofRequest, type Prover, proveModel } from "./prover.ts";
import { bomb, SLOW_WIDTH, slow, unary } from "./testing/graph.ts";

const request: ProofRequest = { memoryBytesMax: 256 * 2 ** 20, timeMs: 15_000, options: { threads: 1 } };
const row = (name: string, values: number[]): Tensor => ({
  name,
  datatype: "FP32",
  shape: [values.length / 2, 2],
  data: Float32Array.from(values),
});

describe("a prover", () => {
  let prover: Prover;
  beforeAll(() => void (prover = createProver()));
  afterAll(() => prover.stop());

  it("answers the samples as the model does", async () => {
    const proof = await prover.prove(unary("Neg"), { ...request, samples: [[row("x", [1, 2])]] });
    expect(proof).toMatchObject({ ok: true, outputsForSamples: [[row("y", [-1, -2])]] });
    expect(proof.ok && proof.peakBytes).toBeGreaterThan(2 ** 20);
  });

  it("makes samples up: one row, and 64 where the model batches", async () => {
    const proof = await prover.prove(unary("Abs"), request);
    const shapes = proof.ok && proof.outputsForSamples.map((outputs) => outputs.map(({ shape }) => shape));
    expect(shapes).toEqual([[[1, 2]], [[64, 2]]]);
  });

  it("keeps golden runs within the tolerance and refuses those beyond it", async () => {
    const golden = [{ inputs: [row("x", [1, 2])], outputs: [row("y", [-1, -2.25])] }];
    expect(await prover.prove(unary("Neg"), { ...request, golden, tolerance: 0.25 })).toMatchObject({
      ok: true,
    });
    expect(await prover.prove(unary("Neg"), { ...request, golden, tolerance: 0.2 })).toMatchObject({
      failure: "golden",
      reason: 'golden run 0: output "y" is 0.25 away, more than 0.2',
    });
  });

  it("refuses what inspection refuses, without a process", async () => {
    const proof = await prover.prove(new Uint8Array(3), request);
    expect(proof).toMatchObject({
      ok: false,
      failure: "refused",
      reason: expect.stringContaining("not an ONNX"),
    });
    expect(proof.millis).toBeLessThan(50);
  });

  it("refuses what onnxruntime refuses", async () => {
    expect(await prover.prove(unary("NoSuchOperator"), request)).toMatchObject({ failure: "refused" });
  });

  it("refuses answers that are not finite", async () => {
    expect(await prover.prove(unary("Reciprocal"), request)).toMatchObject({
      failure: "not-finite",
      reason: 'sample 0: output "y" has Infinity',
    });
  });

  it("refuses a bomb: its allocation fails in its process, and this one does not notice", async () => {
    const resident = process.memoryUsage.rss();
    for (const kibiValues of [2 ** 20, 2 ** 40]) {
      expect(await prover.prove(bomb(kibiValues), request)).toMatchObject({ ok: false });
    }
    expect(process.memoryUsage.rss() - resident).toBeLessThan(200 * 2 ** 20);
  });

  it("watches the memory where the kernel does not bound it", async () => {
    vi.stubEnv("PATH", "");
    try {
      const proof = await prover.prove(bomb(512 * 2 ** 10), request);
      expect(proof).toMatchObject({ failure: "memory", reason: expect.stringContaining("bytes of memory") });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("ends a model that does not", async () => {
    const rows = 400;
    const samples: Tensor[][] = [
      [{ name: "x", datatype: "FP32", shape: [rows, SLOW_WIDTH], data: new Float32Array(rows * SLOW_WIDTH) }],
    ];
    const proof = await prover.prove(slow(), { ...request, samples, timeMs: 2000 });
    expect(proof).toMatchObject({ failure: "time", reason: "it took more than 2000 ms" });
    expect(proof.millis).toBeLessThan(3000);
  });

  it("proves side by side", async () => {
    const proofs = await Promise.all([1, 2].map(() => prover.prove(unary("Neg"), request)));
    expect(proofs.map(({ ok }) => ok)).toEqual([true, true]);
  });

  it("is not harmed by any change of a model's bytes", async () => {
    const good = unary("Abs");
    const change = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 2 });
    const changed = fc.sample(change, { numRuns: 500, seed: 7 }).map((changes) => {
      const bytes = good.slice();
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
    const inspected = changed.filter((bytes) => inspectModel(bytes).ok);
    expect(inspected.length).toBeGreaterThan(20);
    for (const bytes of inspected.slice(0, 5))
      expect(typeof (await prover.prove(bytes, request)).ok).toBe("boolean");
  });
});

describe("processes", () => {
  it.runIf(process.platform === "linux")("give way to whoever answers requests", async () => {
    const children: ChildProcess[] = [];
    const collect = (message: unknown): void =>
      void children.push((message as { process: ChildProcess }).process);
    channel("child_process").subscribe(collect);
    const prover = createProver();
    channel("child_process").unsubscribe(collect);
    expect(children.map(({ pid }) => getPriority(pid))).toEqual([10]);
    await prover.stop();
  });

  it("one proof needs no prover", async () => {
    expect(await proveModel(unary("Neg"), request)).toMatchObject({ ok: true });
  });

  it("fails as crashed when its process is killed, and a stopped prover proves no more", async () => {
    const prover = createProver();
    const proof = prover.prove(slow(), request);
    await prover.stop();
    expect(await proof).toMatchObject({ failure: "crashed", reason: "its process ended: SIGKILL" });
    await expect(prover.prove(unary("Neg"), request)).rejects.toThrow("stopped");
  });
});

describe("prove", () => {
  it("refuses answers that differ from run to run", async () => {
    // Inspection refuses such operators; this is what stands behind it.
    const signature = {
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
    } as const;
    const proof = await prove(unary("RandomNormalLike"), {
      signature,
      samples: [[row("x", [1, 2])]],
      golden: [],
      tolerance: 0,
      options: { threads: 1, optimisation: "all", providers: ["cpu"] },
    });
    expect(proof).toMatchObject({ failure: "not-repeatable" });
  });
});
