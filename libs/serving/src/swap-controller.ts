import type { Arm, ComparisonReport } from "@millrace/rollout";
import { sleep } from "@millrace/runtime";
import { type NodePlan, planNode, type Rollout } from "@millrace/versions";
import type { Lane } from "./batch.ts";
import { compareOn } from "./compare.ts";
import { Generation, type Handle, type VersionModel } from "./generation.ts";
import type { Loader, ServedModel } from "./model.ts";
import type { RecentRequests } from "./recent.ts";
import { warmUp } from "./warm-up.ts";

/** What this node shall serve for one line. */
export interface AspiredSet {
  readonly line: string;
  /** Grows with every change; the controller ignores a lower one. */
  readonly generation: number;
  /** The champion first, then a challenger, then shadows. */
  readonly models: readonly VersionModel[];
  /** How requests are divided between champion and challenger; null: the champion answers alone. */
  readonly rollout: Rollout | null;
}

/** How the champion shares its requests now. */
export interface Division {
  readonly strategy: Rollout["strategy"];
  readonly by: Rollout["by"];
  /** For `assign` of @millrace/rollout. */
  readonly plan: { readonly salt: string; readonly arms: readonly [Arm, Arm] };
}

/** Stages of a swap in ms. fetch, prove, load and warm are the champion's, 0 when it was loaded already. */
export interface SwapStages {
  readonly fetch: number;
  readonly prove: number;
  readonly load: number;
  readonly warm: number;
  readonly flip: number;
  /** Until the last call in flight on the old models had its answer, and they were released. */
  readonly drain: number;
  /** From the arrival of the aspired set to the end. */
  readonly total: number;
}

/** What became of an aspired set. */
export type SwapOutcome =
  /** It serves. Shadows that could not be loaded are named in `failures`. */
  | {
      readonly outcome: "applied";
      readonly generation: number;
      /** Champion before and after. */
      readonly from: number | null;
      readonly to: number | null;
      readonly stages: SwapStages;
      /** How the champion's answers to recorded requests differ from its predecessor's; null: not compared. */
      readonly compared: ComparisonReport | null;
    }
  /** Nothing was done: it is older than, or equal to, the one that the controller works on. */
  | { readonly outcome: "ignored" }
  /** A newer set arrived, or the controller was stopped, before this one served. */
  | { readonly outcome: "superseded" }
  /** The line is parked: nothing is loaded until it is woken. */
  | { readonly outcome: "parked" }
  /** It contradicts what is loaded. */
  | { readonly outcome: "refused"; readonly reason: string };

/** Why a wanted version is not loaded. */
export interface LoadFailure {
  readonly version: number;
  readonly stage: "fetch" | "prove" | "load" | "warm";
  readonly attempts: number;
  readonly error: unknown;
}

export interface SwapControllerOptions {
  /** The verified bytes of a version. */
  readonly fetch: (model: VersionModel) => Promise<Uint8Array>;
  /** Tries the bytes where they can do no harm; rejects with the reason when they must not be loaded here. */
  readonly prove: (bytes: Uint8Array, of: VersionModel) => Promise<void>;
  readonly load: Loader;
  /** The waiting room of a model that is about to serve. */
  readonly lane: (model: ServedModel) => Lane;
  /** Requests to warm up with. */
  readonly recent: RecentRequests;
  /** Monotonic ms. */
  readonly now: () => number;
  /** Called when a version could not be loaded; it will be tried again. */
  readonly onFailure: (failure: LoadFailure) => void;
  /** Called when a model's memory could not be freed. */
  readonly onLeak: (version: number, error: unknown) => void;
  /** Waits until a failed version is tried again. Default: 0.5 s, then twice as long each time, up to 30 s. */
  readonly pause?: (attempts: number, signal: AbortSignal) => Promise<void>;
}

/** Loads at once; a third waits. Bounds memory when sets arrive faster than models load. */
const LOADS_MAX = 2;
const PAUSE_MS = 500;
const PAUSE_MS_MAX = 30_000;

interface Serving {
  readonly generation: number;
  readonly champion: Generation | null;
  readonly challengers: readonly Generation[];
  readonly shadows: readonly Generation[];
  readonly division: Division | null;
}

const NOTHING: Serving = { generation: 0, champion: null, challengers: [], shadows: [], division: null };

/** The models of one moment, each with its handle. */
export interface Acquired {
  readonly champion: Handle;
  /** Challengers and shadows. */
  readonly beside: readonly Handle[];
  readonly division: Division | null;
}

/** What is known of a load that succeeded. */
interface LoadReport {
  readonly stages: Pick<SwapStages, "fetch" | "prove" | "load" | "warm">;
  readonly compared: ComparisonReport | null;
}

interface Swap {
  readonly set: AspiredSet;
  readonly from: number | null;
  readonly startedAt: number;
  flipMs: number;
  readonly draining: Promise<void>[];
  readonly settle: (outcome: SwapOutcome) => void;
}

/** The models of one line in this node. All methods but `stop` are synchronous about what serves. */
export class SwapController {
  readonly #options: SwapControllerOptions;
  readonly #stopping = new AbortController();
  /** Assigned as a whole, and only here: what `acquire` sees (G3). */
  #serving: Serving = NOTHING;
  #target: AspiredSet;
  #swap: Swap | null = null;
  #isParked = false;
  #waking: PromiseWithResolvers<void> | null = null;
  readonly #ready = new Map<number, Generation>();
  readonly #loading = new Map<number, VersionModel>();
  readonly #pausing = new Map<number, VersionModel>();
  readonly #failures = new Map<number, LoadFailure>();
  readonly #loads = new Map<number, LoadReport>();
  readonly #ending = new Set<Promise<void>>();

  constructor(line: string, options: SwapControllerOptions) {
    this.#target = { line, generation: 0, models: [], rollout: null };
    this.#options = options;
  }

  /** The generation of the newest aspired set that was accepted. */
  get target(): number {
    return this.#target.generation;
  }

  /** The generation that serves. */
  get generation(): number {
    return this.#serving.generation;
  }

  get champion(): VersionModel | null {
    return this.#serving.champion?.of ?? null;
  }

  /** What serves: the champion first. */
  get loaded(): readonly VersionModel[] {
    return this.#generations().map((generation) => generation.of);
  }

  /** Wanted versions whose last attempt failed. */
  get failures(): readonly LoadFailure[] {
    return [...this.#failures.values()];
  }

  /** The champion, or a version that serves beside it. null: it is not loaded. */
  acquire(version?: number): Handle | null {
    if (version === undefined) return this.#serving.champion?.acquire() ?? null;
    return (
      this.#generations()
        .find((generation) => generation.of.version === version)
        ?.acquire() ?? null
    );
  }

  /** All models of one moment. null: there is no champion. */
  acquireAll(): Acquired | null {
    const { champion, challengers, shadows, division } = this.#serving;
    if (champion === null) return null;
    const beside = [...challengers, ...shadows].map((one) => one.acquire());
    return { champion: champion.acquire(), beside, division };
  }

  /** How the champion shares its requests now; null: it does not. */
  get division(): Division | null {
    return this.#serving.division;
  }

  /** Whether versions beside the champion are loaded. */
  get hasOthers(): boolean {
    return this.#serving.challengers.length + this.#serving.shadows.length > 0;
  }

  /** What a loaded version is for now; null when it is not loaded. */
  roleOf(version: number): VersionModel["role"] | null {
    const { champion, challengers, shadows } = this.#serving;
    if (champion?.of.version === version) return "champion";
    if (challengers.some(({ of }) => of.version === version)) return "challenger";
    return shadows.some(({ of }) => of.version === version) ? "shadow" : null;
  }

  /** What all its models hold in memory, about. */
  get memoryBytes(): number {
    return [...this.#ready.values()].reduce((sum, generation) => sum + generation.memoryBytes, 0);
  }

  /** Takes an aspired set. Resolves when it serves and what it replaced is released, or when it will never serve. */
  aspire(set: AspiredSet): Promise<SwapOutcome> {
    if (set.generation <= this.#target.generation) return Promise.resolve({ outcome: "ignored" });
    if (this.#stopping.signal.aborted) return Promise.resolve({ outcome: "superseded" });
    const reason = this.#contradiction(set);
    if (reason !== null) return Promise.resolve({ outcome: "refused", reason });
    this.#swap?.settle({ outcome: "superseded" });
    this.#target = set;
    for (const version of this.#failures.keys()) {
      if (!set.models.some((model) => model.version === version)) this.#failures.delete(version);
    }
    if (this.#isParked) return Promise.resolve({ outcome: "parked" });
    return new Promise((settle) => {
      const startedAt = this.#options.now();
      const from = this.champion?.version ?? null;
      this.#swap = { set, from, startedAt, flipMs: 0, draining: [], settle };
      this.#advance();
    });
  }

  /** Whether its models were let go to free their memory. */
  get isParked(): boolean {
    return this.#isParked;
  }

  /** Lets all models go; `wake` brings them back. Resolves when their memory is free. */
  async park(): Promise<void> {
    if (this.#isParked || this.#stopping.signal.aborted) return;
    this.#isParked = true;
    this.#serving = { ...NOTHING, generation: this.#serving.generation };
    this.#swap?.settle({ outcome: "parked" });
    this.#swap = null;
    await Promise.all([...this.#ready.keys()].map((version) => this.#drop(version)));
  }

  /**
   * Brings back the models of the newest set. Resolves when the champion can answer; rejects with the reason when it
   * cannot be loaded, and goes on trying.
   */
  wake(): Promise<void> {
    if (this.#serving.champion !== null) return Promise.resolve();
    this.#isParked = false;
    this.#waking ??= Promise.withResolvers();
    const { promise } = this.#waking;
    promise.catch(() => {}); // whoever asked may have gone
    this.#advance();
    return promise;
  }

  /** Stops serving: no new handles; resolves when those held are released and all memory is free. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#serving = { ...NOTHING, generation: this.#serving.generation };
    this.#swap?.settle({ outcome: "superseded" });
    this.#swap = null;
    this.#waking?.reject(new Error("the node stops"));
    for (const [version] of this.#ready) void this.#drop(version);
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  #generations(): readonly Generation[] {
    const { champion, challengers, shadows } = this.#serving;
    return champion === null ? [] : [champion, ...challengers, ...shadows];
  }

  /** Versions are immutable: a number that stands for other bytes than the loaded ones is a registry gone wrong. */
  #contradiction(set: AspiredSet): string | null {
    for (const { version, artifactDigest } of set.models) {
      const known = this.#ready.get(version)?.of ?? this.#loading.get(version);
      if (known !== undefined && known.artifactDigest !== artifactDigest) {
        return `version ${version} is loaded with digest ${known.artifactDigest}, the set says ${artifactDigest}`;
      }
    }
    return null;
  }

  /** Does what the plan says now. Called whenever something has changed; never waits. */
  #advance(): void {
    if (this.#stopping.signal.aborted || this.#isParked) return;
    const plan = planNode(
      {
        generation: this.#target.generation,
        ready: [...this.#ready.keys()],
        loading: [...this.#loading.keys(), ...this.#pausing.keys()],
        champion: this.champion?.version ?? null,
      },
      this.#target,
    );
    if (plan === null) return;
    for (const version of plan.load) {
      if (this.#loading.size === LOADS_MAX) break;
      this.#begin(version);
    }
    this.#flip(plan);
    for (const version of plan.drop) void this.#drop(version);
    this.#settle();
  }

  #flip(plan: NodePlan): void {
    const before = this.#options.now();
    const find = (version: number): Generation => this.#ready.get(version) as Generation;
    this.#serving = {
      generation: this.#isServed(plan) ? plan.generation : this.#serving.generation,
      champion: plan.champion === null ? null : find(plan.champion),
      challengers: plan.challengers.map(find),
      shadows: plan.shadows.map(find),
      division: this.#division(plan),
    };
    if (this.#swap !== null) this.#swap.flipMs += this.#options.now() - before;
    if (this.#serving.champion === null) return;
    this.#waking?.resolve();
    this.#waking = null;
  }

  /** A rollout begins when both its champion and its challenger are ready. */
  #division({ champion, challengers }: NodePlan): Division | null {
    const { models, rollout } = this.#target;
    const isComplete = models.some((model) => model.role === "champion" && model.version === champion);
    if (rollout === null || champion === null || !isComplete || !challengers.includes(rollout.version))
      return null;
    const { strategy, by, salt, share, version } = rollout;
    const arms: [Arm, Arm] = [
      { version: champion, role: "champion", share: 1 - share },
      { version, role: "challenger", share },
    ];
    return { strategy, by, plan: { salt, arms } };
  }

  /** Whether the plan's champion is the one that its generation wants. */
  #isServed(plan: NodePlan): boolean {
    const wanted = this.#target.models.find((model) => model.role === "champion");
    return wanted === undefined || wanted.version === plan.champion;
  }

  /** The swap is over when its champion serves, its shadows do or have failed, and the old models are released. */
  #settle(): void {
    const swap = this.#swap;
    if (swap === null || this.#serving.generation !== swap.set.generation) return;
    const isDecided = ({ version }: VersionModel): boolean =>
      this.#ready.has(version) || this.#failures.has(version);
    if (!swap.set.models.every(isDecided)) return;
    this.#swap = null;
    const to = this.champion?.version ?? null;
    const { now } = this.#options;
    const drainFrom = now();
    const loaded = to === null ? undefined : this.#loads.get(to);
    this.#loads.clear();
    void Promise.all(swap.draining).then(() =>
      swap.settle({
        outcome: "applied",
        generation: swap.set.generation,
        from: swap.from,
        to,
        stages: {
          fetch: loaded?.stages.fetch ?? 0,
          prove: loaded?.stages.prove ?? 0,
          load: loaded?.stages.load ?? 0,
          warm: loaded?.stages.warm ?? 0,
          flip: swap.flipMs,
          drain: now() - drainFrom,
          total: now() - swap.startedAt,
        },
        compared: loaded?.compared ?? null,
      }),
    );
  }

  #drop(version: number): Promise<void> {
    const generation = this.#ready.get(version);
    if (generation === undefined) return Promise.resolve();
    this.#ready.delete(version);
    const draining = generation.drain().catch((error: unknown) => this.#options.onLeak(version, error));
    this.#swap?.draining.push(draining);
    this.#track(draining);
    return draining;
  }

  #track(work: Promise<void>): void {
    this.#ending.add(work);
    void work.finally(() => this.#ending.delete(work));
  }

  #begin(version: number): void {
    const model = this.#target.models.find((one) => one.version === version) as VersionModel;
    this.#loading.set(version, model);
    this.#track(this.#load(model));
  }

  async #load(model: VersionModel): Promise<void> {
    const { version } = model;
    const { fetch, prove, load, lane, recent, now, onFailure } = this.#options;
    let stage: LoadFailure["stage"] = "fetch";
    let loaded: ServedModel | null = null;
    const times = [now()];
    try {
      const bytes = await fetch(model);
      times.push(now());
      stage = "prove";
      await prove(bytes, model);
      times.push(now());
      stage = "load";
      loaded = await load(bytes, model);
      times.push(now());
      stage = "warm";
      await warmUp(loaded, model, recent.all());
      const compared = await this.#compare(loaded, recent.all());
      times.push(now());
      const [began = 0, fetched = 0, proven = 0, built = 0, warm = 0] = times;
      const stages = {
        fetch: fetched - began,
        prove: proven - fetched,
        load: built - proven,
        warm: warm - built,
      };
      this.#loads.set(version, { stages, compared });
      this.#failures.delete(version);
      this.#ready.set(version, new Generation(model, loaded, lane(loaded)));
      this.#loading.delete(version);
      if (this.#stopping.signal.aborted || this.#isParked) void this.#drop(version);
    } catch (error) {
      await loaded?.release().catch((leak: unknown) => this.#options.onLeak(version, leak));
      this.#loading.delete(version);
      const attempts = (this.#failures.get(version)?.attempts ?? 0) + 1;
      const failure = { version, stage, attempts, error };
      if (this.#target.models.some((one) => one.version === version)) this.#failures.set(version, failure);
      this.#pausing.set(version, model);
      onFailure(failure);
      if (this.#roleInTarget(version) === "champion") {
        this.#waking?.reject(error);
        this.#waking = null;
      }
      this.#track(this.#tryLater(version, attempts));
    }
    this.#advance();
  }

  /** With the champion, on what it was asked of late. A champion that fails meanwhile proves nothing about the next. */
  async #compare(
    next: ServedModel,
    recorded: ReturnType<RecentRequests["all"]>,
  ): Promise<ComparisonReport | null> {
    const champion = this.acquire();
    if (champion === null) return null;
    try {
      return await compareOn(recorded, champion.model, next);
    } catch {
      return null;
    } finally {
      champion.release();
    }
  }

  #roleInTarget(version: number): VersionModel["role"] | undefined {
    return this.#target.models.find((model) => model.version === version)?.role;
  }

  async #tryLater(version: number, attempts: number): Promise<void> {
    const pause =
      this.#options.pause ?? ((n, signal) => sleep(Math.min(PAUSE_MS * 2 ** (n - 1), PAUSE_MS_MAX), signal));
    await pause(attempts, this.#stopping.signal);
    this.#pausing.delete(version);
    this.#advance();
  }
}
