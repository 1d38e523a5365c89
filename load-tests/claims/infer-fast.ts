import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { TRITON_RECORDED } from "../inference-peers.ts";
import { type Workload, withInference, workloadFor } from "../inference-workload.ts";
import { ensureLoader, faultsOf, type LoadFigures, loadLine } from "../loader.ts";
import { firstValueModel, mlpModel, treesModel } from "../models.ts";
import type { Transport } from "../run-inference.ts";

const CALLS = 64;
const CONNECTIONS = 8;
/** 147 rows of 1,024 values are 602 KB, the size of a picture for ResNet. */
const LARGE = { features: 1_024, rows: 147, calls: 8 } as const;
const WARM_UP_SECONDS = 1;
const SECONDS = 4;
const RUNS = 3;
const TREES_MIN = 75_000;
const MLP_MIN = 280_000;
const TIMES_TRITON_MIN = 5;
const TIMES_GRPC_JS_MIN = 5;
const SEED = 11;

interface Case {
  readonly name: string;
  readonly workload: Workload;
  readonly calls: number;
  readonly connections: number;
  readonly transport: Transport;
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const models = {
    trees: treesModel("lightgbm", SEED),
    mlp: mlpModel("mlp", [128, 64], SEED),
    large: firstValueModel("large", LARGE.features),
  };
  const load = await ensureLoader({ say });
  const [trees, mlp, large] = [
    await workloadFor(models.trees, 1),
    await workloadFor(models.mlp, 1),
    await workloadFor(models.large, LARGE.rows),
  ];
  const small = { calls: CALLS, connections: 1, transport: "http2" } as const;
  const cases = {
    trees: { ...small, name: "LightGBM", workload: trees },
    treesSpread: { ...small, name: "LightGBM, 8 connections", workload: trees, connections: CONNECTIONS },
    mlp: { ...small, name: "MLP", workload: mlp },
    mlpSpread: { ...small, name: "MLP, 8 connections", workload: mlp, connections: CONNECTIONS },
    large: { ...small, name: "602 KB", workload: large, calls: LARGE.calls },
    largeGrpcJs: {
      name: "602 KB",
      workload: large,
      calls: LARGE.calls,
      connections: 1,
      transport: "grpc-js",
    },
  } as const satisfies Readonly<Record<string, Case>>;

  const runs = new Map<string, LoadFigures[]>(Object.keys(cases).map((key) => [key, []]));
  const measure = (transport: Transport): Promise<void> =>
    withInference(Object.values(models), transport, stop, async ({ port }, signal) => {
      for (const [key, one] of Object.entries(cases)) {
        if (one.transport !== transport) continue;
        const { name, workload, calls, connections } = one;
        const pace = { calls };
        const figures = await load(
          { ...workload, port, pace, connections, warmupSeconds: WARM_UP_SECONDS, seconds: SECONDS },
          signal,
        );
        say(`${transport}, ${name}: ${loadLine(figures)}`);
        runs.get(key)?.push(figures);
      }
    });
  for (let i = 0; i < RUNS; i++) {
    await measure("http2");
    await measure("grpc-js");
  }

  const perSecond = (key: keyof typeof cases): number =>
    median((runs.get(key) as LoadFigures[]).map((figures) => figures.perSecond));
  const timesTriton = perSecond("trees") / TRITON_RECORDED.perSecond;
  const timesGrpcJs = perSecond("large") / perSecond("largeGrpcJs");
  return {
    value: perSecond("trees"),
    baseline: null,
    faults: [
      ...[...runs].flatMap(([key, all]) => all.flatMap((figures) => faultsOf(key, figures))),
      ...(perSecond("mlp") >= MLP_MIN
        ? []
        : [`the MLP answers ${Math.round(perSecond("mlp"))} /s, not ${MLP_MIN}`]),
      ...(timesTriton >= TIMES_TRITON_MIN
        ? []
        : [`${timesTriton.toFixed(2)} times Triton as recorded, not ${TIMES_TRITON_MIN}`]),
      ...(timesGrpcJs >= TIMES_GRPC_JS_MIN
        ? []
        : [`602 KB tensors: ${timesGrpcJs.toFixed(2)} times grpc-js, not ${TIMES_GRPC_JS_MIN}`]),
    ],
    parts: {
      callsInFlight: CALLS,
      timesTritonRecorded: timesTriton,
      largeTimesGrpcJs: timesGrpcJs,
      ...Object.fromEntries(
        [...runs].map(([key, all]) => [
          key,
          {
            perSecond: Math.round(median(all.map((figures) => figures.perSecond))),
            p50Ms: median(all.map(({ latencyMs }) => latencyMs.p50)),
            p99Ms: median(all.map(({ latencyMs }) => latencyMs.p99)),
          },
        ]),
      ),
    },
  };
}

const claim: Claim = {
  name: "infer-fast",
  statement:
    "Through the project's own HTTP/2, one core answers at least 75,000 LightGBM and 280,000 MLP requests a second, and " +
    "602 KB tensors 5 times as often as through grpc-js.",
  unit: "requests/s",
  target: { atLeast: TREES_MIN },
  limitSeconds: 600,
  run,
};
export default claim;
