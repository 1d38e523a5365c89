import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { workloadFor } from "../inference-workload.ts";
import { ensureLoader, faultsOf, type LoadFigures, loadLine } from "../loader.ts";
import { treesModel } from "../models.ts";
import { withServingMesh } from "../serving-mesh.ts";

const STEADY = "steady";
const SWAPPED = "swapped";
const VERSIONS = 4;
const SHARE_OF_CAPACITY = 0.5;
const CALLS = 64;
const WARM_UP_SECONDS = 1;
const CAPACITY_SECONDS = 4;
const SECONDS = 10;
const RUNS = 3;
const TIMES_MAX = 1.2;
const SEED = 11;

async function run({ say, stop }: Context): Promise<Measurement> {
  const load = await ensureLoader({ say });
  const model = treesModel(STEADY, SEED);
  const workload = await workloadFor(model, 1);
  return withServingMesh("http2", stop, async (mesh, signal) => {
    const serve = async (line: string, version: number): Promise<void> => {
      const generation = await mesh.promote(line, version);
      await mesh.until(line, (state) => state.generation >= generation && state.champion === version);
    };
    for (const line of [STEADY, SWAPPED]) await mesh.addLine(line);
    await serve(STEADY, await mesh.register(model));
    const versions: number[] = [];
    for (let i = 1; i <= VERSIONS; i++) versions.push(await mesh.register(treesModel(SWAPPED, SEED + i)));
    await serve(SWAPPED, versions[0] as number);

    const swapUntil = async (enough: AbortSignal): Promise<number> => {
      let swaps = 0;
      while (!enough.aborted) await serve(SWAPPED, versions[++swaps % versions.length] as number);
      return swaps;
    };

    const base = { ...workload, port: mesh.inference.port, warmupSeconds: WARM_UP_SECONDS };
    const capacity = await load({ ...base, pace: { calls: CALLS }, seconds: CAPACITY_SECONDS }, signal);
    const pace = { perSecond: SHARE_OF_CAPACITY * capacity.perSecond };
    const measure = (): Promise<LoadFigures> => load({ ...base, pace, seconds: SECONDS }, signal);

    const runs: { readonly alone: LoadFigures; readonly beside: LoadFigures; readonly swaps: number }[] = [];
    for (let i = 1; i <= RUNS; i++) {
      const alone = await measure();
      const measured = new AbortController();
      const [beside, swaps] = await Promise.all([
        measure().finally(() => measured.abort()),
        swapUntil(measured.signal),
      ]);
      say(`run ${i}: alone ${loadLine(alone)}; beside ${swaps} swaps ${loadLine(beside)}`);
      runs.push({ alone, beside, swaps });
    }
    return {
      value: median(runs.map(({ alone, beside }) => beside.latencyMs.p99 / alone.latencyMs.p99)),
      baseline: null,
      faults: runs.flatMap(({ alone, beside }) => [
        ...faultsOf("alone", alone),
        ...faultsOf("beside", beside),
      ]),
      parts: {
        perSecond: pace.perSecond,
        seconds: SECONDS,
        runs: runs.map(({ alone, beside, swaps }) => ({
          swaps,
          aloneMs: alone.latencyMs,
          besideMs: beside.latencyMs,
        })),
      },
    };
  });
}

const claim: Claim = {
  name: "neighbour",
  statement:
    "While one line's model is swapped without a pause, the p99 of another line on the same core is at most 1.2 times what " +
    "it was before.",
  unit: "times",
  target: { atMost: TIMES_MAX },
  limitSeconds: 300,
  run,
};
export default claim;
