import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { GRPCInferenceService, ModelInferRequestSchema } from "@millrace/contracts";
import { createRpcClient } from "@millrace/rpc";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { mlpModel, requestsFor, tableModel, treesModel } from "../models.ts";
import { layOut, startInference } from "../run-inference.ts";

const RUNS = 5;
const MS_MAX = 3_000;
const TABLE_MB = 50;
const SEED = 11;

async function run({ say, stop }: Context): Promise<Measurement> {
  const trees = treesModel("lightgbm", SEED);
  const models = [trees, mlpModel("mlp", [128, 64], SEED), tableModel("table", TABLE_MB, SEED)];
  const [request] = requestsFor(trees, { requests: 1, rows: 1 }, SEED);
  const message = fromBinary(ModelInferRequestSchema, request?.message ?? new Uint8Array());
  const runs: { readonly readyMs: number; readonly answeredMs: number }[] = [];
  for (let i = 1; i <= RUNS; i++) {
    const folder = await mkdtemp(join(tmpdir(), "millrace-offline-"));
    try {
      await layOut(models, folder);
      const startedAt = performance.now();
      const service = await startInference({ folder, transport: "http2" }, stop);
      const client = createRpcClient(GRPCInferenceService, `127.0.0.1:${service.port}`, { token: null });
      try {
        await client.modelInfer(message);
        runs.push({ readyMs: service.startMs, answeredMs: performance.now() - startedAt });
      } finally {
        client.close();
        await service.stop();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    say(`run ${i}: ${JSON.stringify(runs.at(-1))}`);
  }
  return {
    value: median(runs.map(({ answeredMs }) => answeredMs)),
    baseline: null,
    faults: [],
    parts: { models: models.map(({ name, bytes }) => ({ name, bytes: bytes.length })), runs },
  };
}

const claim: Claim = {
  name: "offline-start",
  statement:
    "With the registry, Kafka, NATS and the object store all down, the inference service starts from its own disk and " +
    "answers within 3 seconds.",
  unit: "ms",
  target: { atMost: MS_MAX },
  limitSeconds: 300,
  run,
};
export default claim;
