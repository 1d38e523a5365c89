import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { withInference, workloadFor } from "../inference-workload.ts";
import { ensureLoader, type Interval, type Load, type LoadFigures, loadLine } from "../loader.ts";
import { mlpModel } from "../models.ts";

/** About 0.1 ms a row: refusing four of five calls must not cost more than a tenth of answering the fifth. */
const HIDDEN = new Array<number>(16).fill(512);
const PEAK_CALLS = 64;
/** Callers enough that the server's limit of streams for each does not hold the load back. */
const CONNECTIONS = 64;
const DEADLINE_MS = 100;
const TIMES = 5;
const PEAK_SECONDS = 4;
const CALM_SECONDS = 4;
const OVERLOAD_SECONDS = 10;
const AFTER_SECONDS = 8;
const INTERVAL_MS = 250;
const RUNS = 3;
const SHARE_MIN = 0.9;
const RECOVERY_SECONDS_MAX = 5;
/** A calm p99 of less says more about the machine than about the service. */
const CALM_P99_MS_MIN = 1;
const SEED = 11;

interface Run {
  readonly peak: LoadFigures;
  readonly calm: LoadFigures;
  readonly overload: LoadFigures;
  readonly after: LoadFigures;
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const model = mlpModel("mlp", HIDDEN, SEED);
  const load = await ensureLoader({ say });
  const workload = await workloadFor(model, 1);
  const runs: Run[] = [];
  for (let i = 1; i <= RUNS; i++) {
    await withInference([model], "http2", stop, async ({ port }, signal) => {
      const measure = async (name: string, own: Omit<Load, keyof typeof workload | "port">) => {
        const figures = await load({ ...workload, port, ...own }, signal);
        say(`run ${i}, ${name}: ${loadLine(figures)}, ${figures.failed} failed`);
        return figures;
      };
      const peak = await measure("peak", {
        pace: { calls: PEAK_CALLS },
        warmupSeconds: 1,
        seconds: PEAK_SECONDS,
      });
      const half = { pace: { perSecond: peak.perSecond / 2 }, connections: CONNECTIONS, warmupSeconds: 0 };
      const calm = await measure("half of it", { ...half, seconds: CALM_SECONDS });
      const overload = await measure("5 times it", {
        pace: { perSecond: TIMES * peak.perSecond },
        connections: CONNECTIONS,
        deadlineMs: DEADLINE_MS,
        warmupSeconds: 0,
        seconds: OVERLOAD_SECONDS,
      });
      const after = await measure("after", { ...half, seconds: AFTER_SECONDS, intervalMs: INTERVAL_MS });
      runs.push({ peak, calm, overload, after });
    });
  }
  const recoveries = runs.map(recoverySeconds);
  const hung = runs.reduce((sum, one) => sum + one.overload.unanswered + one.after.unanswered, 0);
  const wrong = runs.reduce((sum, one) => sum + one.overload.wrong, 0);
  return {
    value: median(runs.map(({ peak, overload }) => overload.perSecond / peak.perSecond)),
    baseline: null,
    faults: [
      ...(Math.max(...recoveries) < RECOVERY_SECONDS_MAX
        ? []
        : [`recovered after ${recoveries.join(", ")} s`]),
      ...(hung === 0 ? [] : [`${hung} calls were never answered`]),
      ...(wrong === 0 ? [] : [`${wrong} answers are wrong`]),
    ],
    parts: {
      deadlineMs: DEADLINE_MS,
      timesCapacity: TIMES,
      recoverySeconds: recoveries,
      runs: runs.map(({ peak, calm, overload, after }) => ({
        peakPerSecond: peak.perSecond,
        goodPerSecond: overload.perSecond,
        statuses: overload.statuses,
        messages: overload.messages,
        messagesAfter: after.messages,
        goAways: overload.goAways + after.goAways,
        overloadLatencyMs: overload.latencyMs,
        calmP99Ms: calm.latencyMs.p99,
        afterP99Ms: after.latencyMs.p99,
      })),
    },
  };
}

/** From the end of the overload until p99 stays within twice what it was before, and nothing fails any more. */
function recoverySeconds({ calm, after }: Run): number {
  const limit = 2 * Math.max(calm.latencyMs.p99, CALM_P99_MS_MIN);
  const isCalm = ({ latencyMs, failed, perSecond }: Interval): boolean =>
    failed === 0 && perSecond > 0 && latencyMs.p99 <= limit;
  const lastBusy = after.intervals.findLast((interval) => !isCalm(interval));
  return lastBusy === undefined ? 0 : lastBusy.endsAt;
}

const claim: Claim = {
  name: "overload",
  statement:
    "Asked 5 times as much as it can answer, the inference service still answers at least 90 % of that in time, and is " +
    "as quick as before within 5 seconds of the end.",
  unit: "of capacity",
  target: { atLeast: SHARE_MIN },
  limitSeconds: 300,
  run,
};
export default claim;
