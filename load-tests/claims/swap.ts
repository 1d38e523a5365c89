import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { ensureLoader, type Load, type LoadFigures, loadLine, MODEL_INFER } from "../loader.ts";
import { brokenModel, requestsFor, type TestModel, tableModel, treesModel } from "../models.ts";
import { residentMb, withDescendants } from "../process-usage.ts";
import { type ServingMesh, withServingMesh } from "../serving-mesh.ts";

const LINE = "swapped";
const SWAPS = 1_000;
const CALLS_MIN = 1_000_000;
const SHARE_OF_CAPACITY = 0.8;
const CONNECTIONS = 4;
const CAPACITY_CALLS = 64;
const CAPACITY_SECONDS = 4;
const STEADY_SECONDS = 8;
/** Longer than the claim may take: the load ends when the swaps are done. */
const LOAD_SECONDS = 3_600;

/** Versions of each kind, and how often one of them is what the next swap brings; else it is a small one. */
const SMALL_VERSIONS = 12;
const TABLES = [
  { megabytes: 50, versions: 2, every: 50 },
  { megabytes: 500, versions: 1, every: 200 },
] as const;
const BROKEN_EVERY = 40;
const ROLLBACK_EVERY = 25;

const TIMES_STEADY_P99_MAX = 1.5;
const TIMES_RSS_MAX = 1.05;
const RSS_FIRST_AFTER = 10;
const SMALL_P99_MS_MAX = 1_000;
const SEED = 11;

type Kind = "small" | "large" | "broken" | "rollback";

interface Swapped {
  /** Versions that were ever asked for and load. */
  readonly published: ReadonlySet<string>;
  readonly swaps: Readonly<Record<Kind, number>>;
  /** From asking for a small version until it serves. */
  readonly smallMs: readonly number[];
  readonly rssFirstMb: number;
  readonly rssLastMb: number;
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const load = await ensureLoader({ say });
  return withServingMesh("http2", stop, async (mesh, signal) => {
    const small = Array.from({ length: SMALL_VERSIONS }, (_, i) => treesModel(LINE, SEED + i));
    const messages = requestsFor(small[0] as TestModel, { requests: 64, rows: 1 }, SEED);
    const base = {
      port: mesh.inference.port,
      path: MODEL_INFER,
      messages: messages.map(({ message }) => message),
      connections: CONNECTIONS,
    };
    const measure = async (name: string, own: Omit<Load, keyof typeof base>): Promise<LoadFigures> => {
      const figures = await load({ ...base, ...own }, signal);
      say(`${name}: ${loadLine(figures)}, ${figures.failed} failed`);
      return figures;
    };
    await mesh.addLine(LINE);
    const versions = await registerAll(mesh, small);
    say(`${Object.values(versions).flat(2).length} versions are registered`);
    const [first] = versions.small as [number];
    const generation = await mesh.promote(LINE, first);
    await mesh.until(LINE, (state) => state.generation >= generation && state.champion === first);

    const capacity = await measure("capacity", {
      pace: { calls: CAPACITY_CALLS },
      warmupSeconds: 1,
      seconds: CAPACITY_SECONDS,
    });
    const pace = { perSecond: SHARE_OF_CAPACITY * capacity.perSecond };
    const steady = await measure("steady", { pace, warmupSeconds: 1, seconds: STEADY_SECONDS });
    const enough = new AbortController();
    const [during, swapped] = await Promise.all([
      measure("swapping", { pace, warmupSeconds: 0, seconds: LOAD_SECONDS, enough: enough.signal }),
      swapAll(mesh, versions, say, signal).finally(() => enough.abort()),
    ]);

    const strangers = Object.entries(during.versions)
      .filter(([version]) => !swapped.published.has(version))
      .reduce((sum, [, answers]) => sum + answers, 0);
    const calls = during.answered + during.failed;
    const timesSteady = during.latencyMs.p99 / steady.latencyMs.p99;
    const timesRss = swapped.rssLastMb / swapped.rssFirstMb;
    const smallP99 = quantile(swapped.smallMs, 0.99);
    return {
      value: during.failed + during.unanswered + strangers,
      baseline: null,
      faults: [
        ...(calls >= CALLS_MIN ? [] : [`only ${calls} calls were made`]),
        ...(timesSteady <= TIMES_STEADY_P99_MAX
          ? []
          : [`p99 is ${timesSteady.toFixed(2)} times the steady one, not ${TIMES_STEADY_P99_MAX}`]),
        ...(timesRss <= TIMES_RSS_MAX
          ? []
          : [
              `memory is ${timesRss.toFixed(2)} times that after ${RSS_FIRST_AFTER} swaps, not ${TIMES_RSS_MAX}`,
            ]),
        ...(smallP99 < SMALL_P99_MS_MAX
          ? []
          : [`a small version serves after ${Math.round(smallP99)} ms (p99)`]),
      ],
      parts: {
        calls,
        failed: during.failed,
        messages: during.messages,
        unpublished: strangers,
        versionsThatAnswered: Object.keys(during.versions).length,
        swaps: swapped.swaps,
        perSecond: pace.perSecond,
        steadyLatencyMs: steady.latencyMs,
        swappingLatencyMs: during.latencyMs,
        rssMb: { [`after${RSS_FIRST_AFTER}`]: swapped.rssFirstMb, [`after${SWAPS}`]: swapped.rssLastMb },
        smallToServingMs: { p50: median(swapped.smallMs), p99: smallP99 },
      },
    };
  });
}

async function registerAll(
  mesh: ServingMesh,
  small: readonly TestModel[],
): Promise<{ readonly small: number[]; readonly large: number[][]; readonly broken: number }> {
  const smallVersions: number[] = [];
  for (const model of small) smallVersions.push(await mesh.register(model));
  const large: number[][] = [];
  for (const { megabytes, versions } of TABLES) {
    const these: number[] = [];
    for (let i = 0; i < versions; i++) these.push(await mesh.register(tableModel(LINE, megabytes, SEED + i)));
    large.push(these);
  }
  return { small: smallVersions, large, broken: await mesh.register(brokenModel(LINE)) };
}

/** One swap after the other, each as soon as the node has confirmed the one before. */
async function swapAll(
  mesh: ServingMesh,
  versions: Awaited<ReturnType<typeof registerAll>>,
  say: Context["say"],
  stop: AbortSignal,
): Promise<Swapped> {
  const pids = await withDescendants([mesh.inference.pid]);
  const published = new Set<string>(versions.small.slice(0, 1).map(String));
  const swaps: Record<Kind, number> = { small: 0, large: 0, broken: 0, rollback: 0 };
  const smallMs: number[] = [];
  let before = versions.small[0] as number;
  let rssFirstMb = 0;
  for (let i = 1; i <= SWAPS; i++) {
    stop.throwIfAborted();
    const next = versions.small[i % versions.small.length] as number;
    const { kind, version } = swapNumber(i, versions, next, before);
    const startedAt = performance.now();
    const generation =
      kind === "rollback" ? await mesh.rollback(LINE, version) : await mesh.promote(LINE, version);
    if (kind === "broken") {
      await mesh.until(LINE, ({ failures }) => failures.some((failure) => failure.version === version));
    } else {
      published.add(String(version));
      await mesh.until(LINE, (state) => state.generation >= generation && state.champion === version);
      if (kind === "small") smallMs.push(performance.now() - startedAt);
      before = version;
    }
    swaps[kind]++;
    if (i === RSS_FIRST_AFTER) rssFirstMb = await residentMb(pids);
    if (i % 100 === 0) say(`${i} swaps, ${Math.round(await residentMb(pids))} MB`);
  }
  return { published, swaps, smallMs, rssFirstMb, rssLastMb: await residentMb(pids) };
}

/** What the swap of that number brings. The last one is a small one, as the tenth is. */
function swapNumber(
  i: number,
  versions: Awaited<ReturnType<typeof registerAll>>,
  next: number,
  before: number,
): { readonly kind: Kind; readonly version: number } {
  if (i === SWAPS) return { kind: "small", version: next };
  const table = TABLES.findLastIndex(({ every }) => i % every === 0);
  if (table >= 0) {
    const these = versions.large[table] as number[];
    return { kind: "large", version: these[i % these.length] as number };
  }
  if (i % BROKEN_EVERY === 0) return { kind: "broken", version: versions.broken };
  if (i % ROLLBACK_EVERY === 0)
    return { kind: "rollback", version: before === next ? (versions.small[0] as number) : next };
  return { kind: "small", version: next };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

const claim: Claim = {
  name: "swap",
  statement:
    "Over 1,000 swaps under 80 % load, with failing loads and rollbacks among them, not one call fails and not one answer " +
    "comes from a version that was not promoted.",
  unit: "calls",
  target: { atMost: 0 },
  limitSeconds: 900,
  run,
};
export default claim;
