import { sleep } from "@millrace/runtime";
import { type NodePlan, planNode } from "@millrace/versions";
import { Generation, type Handle, type VersionModel } from "./generation.ts";
import { type Loader, type ServedModel, warmUp } from "./model.ts";

/** What this node shall serve for one line. */
export interface AspiredSet {
  readonly line: string;
  /** Grows with every change; the controller ignores a lower one. */
  readonly generation: number;
  /** The champion first, then shadows. */
  readonly models: readonly VersionModel[];
}

/** Stages of a swap in ms. fetch, load and warm are the champion's, 0 when it was loaded already. */
export interface SwapStages {
  readonly fetch: number;
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
    }
  /** Nothing was done: it is older than, or equal to, the one that the controller works on. */
  | { readonly outcome: "ignored" }
  /** A newer set arrived, or the controller was stopped, before this one served. */
  | { readonly outcome: "superseded" }
  /** It contradicts what is loaded. */
  | { readonly outcome: "refused"; readonly reason: string };

/** Why a wanted version is not loaded. */
export interface LoadFailure {
  readonly version: number;
  readonly stage: "fetch" | "load" | "warm";
  readonly attempts: number;
  readonly error: unknown;
}

export interface SwapControllerOptions {
  /** The verified bytes of a version. */
  readonly fetch: (model: VersionModel) => Promise<Uint8Array>;
  readonly load: Loader;
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
  readonly shadows: readonly Generation[];
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
  #serving: Serving = { generation: 0, champion: null, shadows: [] };
  #target: AspiredSet;
  #swap: Swap | null = null;
  readonly #ready = new Map<number, Generation>();
  readonly #loading = new Map<number, VersionModel>();
  readonly #pausing = new Map<number, VersionModel>();
  readonly #failures = new Map<number, LoadFailure>();
  readonly #stages = new Map<number, { fetch: number; load: number; warm: number }>();
  readonly #ending = new Set<Promise<void>>();

  constructor(line: string, options: SwapControllerOptions) {
    this.#target = { line, generation: 0, models: [] };
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

  /** Champion and shadows of one moment. null: there is no champion. */
  acquireAll(): { readonly champion: Handle; readonly shadows: readonly Handle[] } | null {
    const { champion, shadows } = this.#serving;
    if (champion === null) return null;
    return { champion: champion.acquire(), shadows: shadows.map((shadow) => shadow.acquire()) };
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
    return new Promise((settle) => {
      const startedAt = this.#options.now();
      const from = this.champion?.version ?? null;
      this.#swap = { set, from, startedAt, flipMs: 0, draining: [], settle };
      this.#advance();
    });
  }

  /** Stops serving: no new handles; resolves when those held are released and all memory is free. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#serving = { generation: this.#serving.generation, champion: null, shadows: [] };
    this.#swap?.settle({ outcome: "superseded" });
    this.#swap = null;
    for (const [version] of this.#ready) this.#drop(version);
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  #generations(): readonly Generation[] {
    const { champion, shadows } = this.#serving;
    return champion === null ? [] : [champion, ...shadows];
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
    if (this.#stopping.signal.aborted) return;
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
    for (const version of plan.drop) this.#drop(version);
    this.#settle();
  }

  #flip(plan: NodePlan): void {
    const before = this.#options.now();
    const find = (version: number): Generation => this.#ready.get(version) as Generation;
    this.#serving = {
      generation: this.#isServed(plan) ? plan.generation : this.#serving.generation,
      champion: plan.champion === null ? null : find(plan.champion),
      shadows: plan.shadows.map(find),
    };
    if (this.#swap !== null) this.#swap.flipMs += this.#options.now() - before;
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
    const loaded = to === null ? undefined : this.#stages.get(to);
    this.#stages.clear();
    void Promise.all(swap.draining).then(() =>
      swap.settle({
        outcome: "applied",
        generation: swap.set.generation,
        from: swap.from,
        to,
        stages: {
          fetch: loaded?.fetch ?? 0,
          load: loaded?.load ?? 0,
          warm: loaded?.warm ?? 0,
          flip: swap.flipMs,
          drain: now() - drainFrom,
          total: now() - swap.startedAt,
        },
      }),
    );
  }

  #drop(version: number): void {
    const generation = this.#ready.get(version);
    if (generation === undefined) return;
    this.#ready.delete(version);
    const draining = generation.drain().catch((error: unknown) => this.#options.onLeak(version, error));
    this.#swap?.draining.push(draining);
    this.#track(draining);
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
    const { fetch, load, now, onFailure } = this.#options;
    let stage: LoadFailure["stage"] = "fetch";
    let loaded: ServedModel | null = null;
    try {
      const times = [now()];
      const bytes = await fetch(model);
      times.push(now());
      stage = "load";
      loaded = await load(bytes);
      times.push(now());
      stage = "warm";
      await warmUp(loaded, model.featureNames.length);
      times.push(now());
      const [began = 0, fetched = 0, built = 0, warm = 0] = times;
      this.#stages.set(version, { fetch: fetched - began, load: built - fetched, warm: warm - built });
      this.#failures.delete(version);
      this.#ready.set(version, new Generation(model, loaded));
      this.#loading.delete(version);
      if (this.#stopping.signal.aborted) this.#drop(version);
    } catch (error) {
      await loaded?.release().catch((leak: unknown) => this.#options.onLeak(version, leak));
      this.#loading.delete(version);
      const attempts = (this.#failures.get(version)?.attempts ?? 0) + 1;
      const failure = { version, stage, attempts, error };
      if (this.#target.models.some((one) => one.version === version)) this.#failures.set(version, failure);
      this.#pausing.set(version, model);
      onFailure(failure);
      this.#track(this.#tryLater(version, attempts));
    }
    this.#advance();
  }

  async #tryLater(version: number, attempts: number): Promise<void> {
    const pause =
      this.#options.pause ?? ((n, signal) => sleep(Math.min(PAUSE_MS * 2 ** (n - 1), PAUSE_MS_MAX), signal));
    await pause(attempts, this.#stopping.signal);
    this.#pausing.delete(version);
    this.#advance();
  }
}
