import type { Arm } from "@millrace/rollout";
import { RpcError, sleep } from "@millrace/runtime";
import { type NodePlan, planNode } from "@millrace/versions";
import { Generation, type Handle, type VersionModel } from "./generation.ts";
import { LoadError, type LoadedVersion, loadVersion } from "./load-version.ts";
import type { AspiredSet, Division, LoadFailure, SwapControllerOptions, SwapOutcome } from "./swap.ts";

/** Loads at once; a third waits. Bounds memory when sets arrive faster than models load. */
const LOADS_MAX = 2;
const PAUSE_MS = 500;
const PAUSE_MS_MAX = 30_000;
/** A model that dies after it has been there for so long is tried again as soon as one that never failed. */
const STEADY_MS = 60_000;

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
  /** Loading versions whose thread has died meanwhile. */
  readonly #died = new Set<number>();
  readonly #failures = new Map<number, LoadFailure>();
  /** How often each wanted version failed in a row. */
  readonly #attempts = new Map<number, number>();
  readonly #loads = new Map<number, Pick<LoadedVersion, "stages" | "compared">>();
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

  /** The models of the newest set that was accepted, loaded or not. */
  get wanted(): readonly VersionModel[] {
    return this.#target.models;
  }

  /** Wanted versions that could not be loaded, or have died, and are not back yet. */
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
    for (const version of this.#attempts.keys()) {
      if (set.models.some((model) => model.version === version)) continue;
      this.#attempts.delete(version);
      this.#failures.delete(version);
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

  /**
   * Lets all models go; `wake` brings them back, and one under way rejects. Resolves when their memory is free.
   */
  async park(): Promise<void> {
    if (this.#isParked || this.#stopping.signal.aborted) return;
    this.#isParked = true;
    this.#serving = { ...NOTHING, generation: this.#serving.generation };
    this.#swap?.settle({ outcome: "parked" });
    this.#swap = null;
    this.#endWaking(this.#unavailable("was parked"));
    await Promise.all([...this.#ready.keys()].map((version) => this.#drop(version)));
  }

  /**
   * Brings back the models of the newest set. Resolves when the champion can answer. Rejects with the reason when it
   * cannot be loaded, and goes on trying; with an RpcError (unavailable) when the set has no champion, or when the
   * controller is parked or stopped before one answers.
   */
  wake(): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.reject(this.#unavailable("is stopped"));
    if (this.#serving.champion !== null) return Promise.resolve();
    this.#isParked = false;
    this.#waking ??= Promise.withResolvers();
    const { promise } = this.#waking;
    promise.catch(() => {}); // whoever asked may have gone
    this.#advance();
    return promise;
  }

  /**
   * A version's model has died: its runs fail, now and later. It serves nobody from now on, and is loaded again after a
   * pause; where it was the champion, nobody answers until then. Does nothing for a version that is not loaded.
   */
  failed(version: number): void {
    if (this.#loading.has(version)) this.#died.add(version);
    const generation = this.#ready.get(version);
    if (generation === undefined) return;
    if (this.#options.now() - generation.readyAt > STEADY_MS) this.#attempts.delete(version);
    if (this.#serving.champion === generation) {
      this.#serving = { ...NOTHING, generation: this.#serving.generation };
    }
    void this.#drop(version);
    this.#fail(
      generation.of,
      "serve",
      this.#unavailable(`has lost version ${version}: its thread has ended`),
    );
    this.#advance();
  }

  /** Stops serving: no new handles; resolves when those held are released and all memory is free. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#serving = { ...NOTHING, generation: this.#serving.generation };
    this.#swap?.settle({ outcome: "superseded" });
    this.#swap = null;
    this.#endWaking(this.#unavailable("is stopped"));
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
    const before = this.#serving;
    this.#flip(plan);
    for (const version of plan.drop) void this.#drop(version);
    this.#settle();
    const { champion, generation } = this.#serving;
    if (champion === null || champion.of.version !== this.#wantedChampion) return;
    // Last: whoever is told may change what serves.
    if (before.champion === null || before.generation !== generation) this.#options.onServing(this.#target);
  }

  #flip(plan: NodePlan): void {
    const before = this.#options.now();
    const find = (version: number): Generation => this.#ready.get(version) as Generation;
    this.#serving = {
      generation: this.#isServedBy(plan.champion) ? plan.generation : this.#serving.generation,
      champion: plan.champion === null ? null : find(plan.champion),
      challengers: plan.challengers.map(find),
      shadows: plan.shadows.map(find),
      division: this.#division(plan),
    };
    if (this.#swap !== null) this.#swap.flipMs += this.#options.now() - before;
    if (plan.champion !== null) this.#endWaking(null);
    else if (this.#wantedChampion === null) this.#endWaking(this.#unavailable("has no champion"));
  }

  #endWaking(error: unknown): void {
    if (error === null) this.#waking?.resolve();
    else this.#waking?.reject(error);
    this.#waking = null;
  }

  #unavailable(why: string): RpcError {
    return new RpcError("unavailable", `line ${this.#target.line} ${why}`);
  }

  /** A rollout begins when both its champion and its challenger are ready. */
  #division({ champion, challengers }: NodePlan): Division | null {
    const { rollout } = this.#target;
    const isComplete = champion === this.#wantedChampion && challengers.includes(rollout?.version ?? 0);
    if (rollout === null || champion === null || !isComplete) return null;
    const { strategy, by, salt, share, version } = rollout;
    const arms: [Arm, Arm] = [
      { version: champion, role: "champion", share: 1 - share },
      { version, role: "challenger", share },
    ];
    return { strategy, by, plan: { salt, arms } };
  }

  get #wantedChampion(): number | null {
    return this.#target.models.find((model) => model.role === "champion")?.version ?? null;
  }

  /** Whether this is the champion that the newest set wants. */
  #isServedBy(champion: number | null): boolean {
    return this.#wantedChampion === null || this.#wantedChampion === champion;
  }

  /** The swap is over when its champion serves, its shadows do or have failed, and the old models are released. */
  #settle(): void {
    const swap = this.#swap;
    const to = this.champion?.version ?? null;
    if (swap === null || this.#serving.generation !== swap.set.generation || !this.#isServedBy(to)) return;
    const isDecided = ({ version }: VersionModel): boolean =>
      this.#ready.has(version) || this.#failures.has(version);
    if (!swap.set.models.every(isDecided)) return;
    this.#swap = null;
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

  async #load(of: VersionModel): Promise<void> {
    const { version } = of;
    const { lane, now } = this.#options;
    const loaded = await loadVersion(of, this.#options, () => this.acquire()).catch(
      (error: LoadError) => error,
    );
    this.#loading.delete(version);
    const hasDied = this.#died.delete(version);
    if (loaded instanceof LoadError) {
      this.#fail(of, loaded.stage, loaded.cause);
    } else {
      const { model, observed, ...report } = loaded;
      this.#failures.delete(version);
      this.#loads.set(version, report);
      this.#ready.set(version, new Generation(of, model, lane(model, observed), now()));
      if (this.#stopping.signal.aborted || this.#isParked) void this.#drop(version);
      else if (hasDied) this.failed(version);
    }
    this.#advance();
  }

  /** Says so, and tries again after a pause. */
  #fail(of: VersionModel, stage: LoadFailure["stage"], error: unknown): void {
    const { version } = of;
    const attempts = (this.#attempts.get(version) ?? 0) + 1;
    const failure = { version, stage, attempts, error };
    if (this.#target.models.some((one) => one.version === version)) {
      this.#attempts.set(version, attempts);
      this.#failures.set(version, failure);
    }
    this.#pausing.set(version, of);
    this.#options.onFailure(failure);
    if (version === this.#wantedChampion) this.#endWaking(error);
    this.#track(this.#tryLater(version, attempts));
  }

  async #tryLater(version: number, attempts: number): Promise<void> {
    const pause =
      this.#options.pause ?? ((n, signal) => sleep(Math.min(PAUSE_MS * 2 ** (n - 1), PAUSE_MS_MAX), signal));
    await pause(attempts, this.#stopping.signal);
    this.#pausing.delete(version);
    this.#advance();
  }
}
