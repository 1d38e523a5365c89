import { loadModel } from "@millrace/onnx";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { withInference, workloadFor } from "../inference-workload.ts";
import { ensureLoader, faultsOf, type LoadFigures, loadLine, SERVER_LIVE } from "../loader.ts";
import { requestsFor, slowModel, type TestModel } from "../models.ts";

const MODEL_MS = 20;
const CALLS = 8;
const LIVE_PER_SECOND = 100;
const SECONDS = 15;
/** The model is busy before the first call counts, and stays so until after the last. */
const MARGIN_SECONDS = 2;
const RUNS = 3;
const P99_MS_MAX = 5;
const SEED = 11;

async function run({ say, stop }: Context): Promise<Measurement> {
  const { model, ms } = await heavyModel();
  say(`a model of ${(model.bytes.length / 1e6).toFixed(0)} MB takes ${ms.toFixed(1)} ms`);
  const load = await ensureLoader({ say });
  const workload = await workloadFor(model, 1);
  const runs: { readonly live: LoadFigures; readonly busy: LoadFigures }[] = [];
  for (let i = 1; i <= RUNS; i++) {
    const [busy, live] = await withInference([model], "http2", stop, ({ port }, signal) =>
      Promise.all([
        load(
          {
            ...workload,
            port,
            pace: { calls: CALLS },
            warmupSeconds: MARGIN_SECONDS,
            seconds: SECONDS + MARGIN_SECONDS,
          },
          signal,
        ),
        load(
          {
            path: SERVER_LIVE,
            messages: [new Uint8Array()],
            port,
            pace: { perSecond: LIVE_PER_SECOND },
            warmupSeconds: MARGIN_SECONDS,
            seconds: SECONDS,
          },
          signal,
        ),
      ]),
    );
    say(`run ${i}: ServerLive ${loadLine(live)}; the model ${loadLine(busy)}`);
    runs.push({ live, busy });
  }
  return {
    value: median(runs.map(({ live }) => live.latencyMs.p99)),
    baseline: null,
    faults: runs.flatMap(({ live, busy }) => [
      ...faultsOf("ServerLive", live),
      ...faultsOf("the model", busy),
    ]),
    parts: {
      modelMs: ms,
      callsInFlight: CALLS,
      modelPerSecond: runs.map(({ busy }) => busy.perSecond),
      serverLiveMs: runs.map(({ live }) => live.latencyMs),
    },
  };
}

/** A model with as many steps as take 20 ms for a row on this machine. */
async function heavyModel(): Promise<{ readonly model: TestModel; readonly ms: number }> {
  const few = 100;
  const steps = Math.round((few * MODEL_MS) / (await rowMs(slowModel("heavy", few, SEED))));
  const model = slowModel("heavy", steps, SEED);
  return { model, ms: await rowMs(model) };
}

/** The least of some runs: whatever else runs on the machine only adds to it. */
async function rowMs(model: TestModel): Promise<number> {
  const loaded = await loadModel(model.bytes, { threads: 1 });
  let least = Number.POSITIVE_INFINITY;
  for (const { matrix } of requestsFor(model, { requests: 21, rows: 1 }, SEED)) {
    const startedAt = performance.now();
    await loaded.score(matrix, 1);
    least = Math.min(least, performance.now() - startedAt);
  }
  await loaded.release();
  return least;
}

const claim: Claim = {
  name: "heavy",
  statement:
    "While a model of 20 ms a row is kept busy by 8 callers, 99 of 100 calls that ask whether the server lives are " +
    "answered within 5 ms.",
  unit: "ms",
  target: { atMost: P99_MS_MAX },
  limitSeconds: 300,
  run,
};
export default claim;
