import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import {
  ensurePeers,
  type InferencePeer,
  KSERVE,
  MLSERVER,
  MLSERVER_BATCHING,
  MLSERVER_RECORDED,
  PYTRITON,
  TRITON_RECORDED,
  withPeer,
} from "../inference-peers.ts";
import { withInference, workloadFor } from "../inference-workload.ts";
import { ensureLoader, faultsOf, loadLine, measureServer, type ServerFigures } from "../loader.ts";
import { treesModel } from "../models.ts";

const CALLS = [1, 64, 256] as const;
/** The figures of the claim are of so many calls in flight. */
const CLAIMED = 64;
const WARM_UP_SECONDS = 1;
const SECONDS = 3;
const RUNS = 3;
const PEERS = [MLSERVER, MLSERVER_BATCHING, KSERVE, PYTRITON];
const TIMES_TRITON_MIN = 1.4;
const SEED = 11;

/** By calls in flight. */
type ByCalls = ReadonlyMap<number, ServerFigures>;

async function run({ say, stop }: Context): Promise<Measurement> {
  const model = treesModel("lightgbm", SEED);
  const load = await ensureLoader({ say });
  const workload = await workloadFor(model, 1);
  const pythons = await ensurePeers([...new Set(PEERS.map(({ program }) => program))], { say });
  const peers = PEERS.filter(({ program }) => pythons.has(program));

  const measureAll = async (
    name: string,
    server: { readonly pid: number; readonly port: number },
    signal: AbortSignal,
  ): Promise<ByCalls> => {
    const all = new Map<number, ServerFigures>();
    for (const calls of CALLS) {
      const figures = await measureServer(server.pid, () =>
        load(
          {
            ...workload,
            port: server.port,
            pace: { calls },
            warmupSeconds: WARM_UP_SECONDS,
            seconds: SECONDS,
          },
          signal,
        ),
      );
      say(`${name}, ${calls} in flight: ${loadLine(figures)}`);
      all.set(calls, figures);
    }
    return all;
  };

  const ours: ByCalls[] = [];
  const theirs = new Map<InferencePeer, ByCalls[]>(peers.map((peer) => [peer, []]));
  for (let i = 0; i < RUNS; i++) {
    for (const peer of peers) {
      const figures = await withPeer(
        peer,
        pythons.get(peer.program) as string,
        model,
        stop,
        (server, signal) => measureAll(peer.name, server, signal),
      );
      theirs.get(peer)?.push(figures);
    }
    ours.push(
      await withInference([model], "grpc-js", stop, (server, signal) =>
        measureAll("Millrace, grpc-js", server, signal),
      ),
    );
  }

  const of = (runs: readonly ByCalls[], get: (figures: ServerFigures) => number): number =>
    median(runs.map((byCalls) => get(byCalls.get(CLAIMED) as ServerFigures)));
  const perSecond = of(ours, (figures) => figures.perSecond);
  const p99 = of(ours, (figures) => figures.latencyMs.p99);
  const mlserver = [...theirs].flatMap(([{ program }, runs]) =>
    program === "mlserver" ? [of(runs, (figures) => figures.perSecond)] : [],
  );
  const bestP99 = Math.min(
    TRITON_RECORDED.p99,
    ...[...theirs.values()].map((runs) => of(runs, (figures) => figures.latencyMs.p99)),
  );
  const { perSecond: triton } = TRITON_RECORDED;
  return {
    value: perSecond,
    baseline: mlserver.length === 0 ? MLSERVER_RECORDED : Math.max(...mlserver),
    faults: [
      ...ours.flatMap((byCalls) => [...byCalls.values()].flatMap((figures) => faultsOf("Millrace", figures))),
      ...(perSecond >= TIMES_TRITON_MIN * triton
        ? []
        : [`${(perSecond / triton).toFixed(2)} times Triton as recorded, not ${TIMES_TRITON_MIN}`]),
      ...(p99 <= bestP99 ? [] : [`p99 is ${p99.toFixed(1)} ms, the best peer's ${bestP99.toFixed(1)} ms`]),
    ],
    parts: {
      callsInFlight: CLAIMED,
      timesTritonRecorded: perSecond / triton,
      tritonRecorded: TRITON_RECORDED,
      millrace: summary(ours),
      ...Object.fromEntries([...theirs].map(([{ name }, runs]) => [name, summary(runs)])),
    },
  };
}

/** Medians by calls in flight. */
function summary(runs: readonly ByCalls[]): Record<string, Record<string, number>> {
  const medianOf = (calls: number, get: (figures: ServerFigures) => number): number =>
    median(runs.map((byCalls) => get(byCalls.get(calls) as ServerFigures)));
  return Object.fromEntries(
    CALLS.map((calls) => [
      `callsInFlight${calls}`,
      {
        perSecond: Math.round(medianOf(calls, (figures) => figures.perSecond)),
        p50Ms: medianOf(calls, (figures) => figures.latencyMs.p50),
        p99Ms: medianOf(calls, (figures) => figures.latencyMs.p99),
        cpuMicrosPerCall: medianOf(calls, (figures) => figures.cpuMicrosPerCall),
        peakRssMb: medianOf(calls, (figures) => figures.peakRssMb),
      },
    ]),
  );
}

const claim: Claim = {
  name: "infer-throughput",
  statement:
    "Through grpc-js, the inference service answers at least 9 times as many requests a second as MLServer at its best, " +
    "each with the same LightGBM model on the same core and 64 calls in flight.",
  unit: "requests/s",
  target: { atLeastTimesBaseline: 9 },
  limitSeconds: 900,
  run,
};
export default claim;
