import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel } from "@millrace/onnx";
import { type Load, MODEL_INFER } from "./loader.ts";
import { requestsFor, type TestModel } from "./models.ts";
import { runInference, type Transport } from "./run-inference.ts";
import type { RunningService } from "./run-service.ts";

/** Requests for a model, and what it is to answer to them; the part of a load that does not depend on the server. */
export type Workload = Pick<Load, "path" | "messages"> & Required<Pick<Load, "expected">>;

/** Trees may be added up in another order. */
const TOLERANCE = 1e-5;
const REQUESTS = 64;
const SEED = 41;

/** 64 different requests of so many rows; what they are to be answered is computed by onnxruntime in this process. */
export async function workloadFor(model: TestModel, rows: number): Promise<Workload> {
  const requests = requestsFor(model, { requests: REQUESTS, rows }, SEED);
  const loaded = await loadModel(model.bytes, { threads: 1 });
  const scores: Float32Array[] = [];
  for (const { matrix } of requests) scores.push(await loaded.score(matrix, rows));
  await loaded.release();
  return {
    path: MODEL_INFER,
    messages: requests.map(({ message }) => message),
    expected: { scores, tolerance: TOLERANCE },
  };
}

/** Starts the inference service over the models, and stops it when `use` has ended. */
export async function withInference<T>(
  models: readonly TestModel[],
  transport: Transport,
  stop: AbortSignal,
  use: (service: RunningService, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-inference-"));
  try {
    const service = await runInference(models, { folder, transport }, stop);
    try {
      return await use(service, AbortSignal.any([stop, service.failed]));
    } finally {
      await service.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
