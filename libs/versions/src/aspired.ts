/** Recipe of the model that a line starts with: its constant base rate. It is not trained. */
export const BASELINE_RECIPE = "baseline";

/** Recipe of a model that was made elsewhere and that an operator registered. */
export const IMPORTED_RECIPE = "imported";

/** Recipe of a model with int8 weights that an operator made of another version, its parent. */
export const QUANTISED_RECIPE = "quantised";

/** Recipes of models that an operator registers, without a lease: nothing was trained. */
export const OPERATOR_RECIPES: readonly string[] = [IMPORTED_RECIPE, QUANTISED_RECIPE];

/**
 * champion: answers. challenger: answers a share of the requests beside it. shadow: scores the same rows, for comparison
 * only.
 */
export type Role = "champion" | "challenger" | "shadow";

export interface AspiredModel {
  readonly version: number;
  readonly role: Role;
}

/** What inference nodes shall serve for one line. Generation 0: nothing was promoted yet. */
export interface AspiredModels {
  readonly generation: number;
  /** The champion first, then the challenger, then shadows. Empty at generation 0 only. */
  readonly models: readonly AspiredModel[];
}

/** The aspired set as the registry keeps it. */
export interface Aspired extends AspiredModels {
  /** null: the champion answers alone. */
  readonly rollout: Rollout | null;
}

/** How requests are divided between champion and challenger. */
export interface Rollout {
  /** The challenger. */
  readonly version: number;
  readonly strategy: RolloutStrategy;
  /** request: each by itself; entity: the same entity always the same way. */
  readonly by: "request" | "entity";
  /** The challenger's share of the requests, above 0 and below 1. */
  readonly share: number;
  /** Goes into the hash that divides: each rollout divides anew, and keeps its division when the share changes. */
  readonly salt: string;
  readonly startedAtMs: number;
}

/** canary: a small share, to see no harm; ab: two halves, or so, to compare; interleave: both for each request. */
export type RolloutStrategy = "canary" | "ab" | "interleave";

/** What the rules need to know of a registered version. */
export interface VersionFacts {
  /** Counts from 1 within the line. */
  readonly version: number;
  readonly recipe: string;
  /** Whether the judge's verdict passed. */
  readonly passed: boolean;
  readonly featureDigest: string;
}

export interface AspiredChange {
  /** The version that becomes champion. */
  readonly champion: VersionFacts;
  /** The generation that the writer has read. */
  readonly expectedGeneration: number;
}

/** A line's aspired set before its first promotion. */
export const NOTHING_ASPIRED: Aspired = { generation: 0, models: [], rollout: null };

/** The champion's version; null when there is none. */
export function championOf(aspired: AspiredModels): number | null {
  return aspired.models.find((model) => model.role === "champion")?.version ?? null;
}

/**
 * The version that was trained first: lowest number, neither the baseline nor an operator's, verdict passed, and of the given
 * feature definition, because a model of another one cannot score the same rows. null when there is none.
 */
export function firstTrained(versions: readonly VersionFacts[], featureDigest: string): number | null {
  const untrained = [BASELINE_RECIPE, ...OPERATOR_RECIPES];
  const trained = versions.filter(
    (version) =>
      !untrained.includes(version.recipe) && version.passed && version.featureDigest === featureDigest,
  );
  return trained.length === 0 ? null : Math.min(...trained.map((version) => version.version));
}

/** What became of a change. `moved-on`: somebody else was faster; read the set again and decide anew. */
export type Changed =
  | { readonly outcome: "changed"; readonly aspired: Aspired }
  | { readonly outcome: "moved-on"; readonly generation: number };

/**
 * The aspired set after a promotion or a rollback: compare-and-set on the generation (V1, V3). Ends a rollout. The
 * first trained version goes along as a shadow unless it is the champion itself.
 */
export function nextAspired(
  current: AspiredModels,
  { champion, expectedGeneration }: AspiredChange,
  versions: readonly VersionFacts[],
): Changed {
  return movedOn(current, expectedGeneration) ?? changed(current, champion, null, versions);
}

/** null: the writer has read the newest generation, and may change it. */
export function movedOn({ generation }: AspiredModels, expectedGeneration: number): Changed | null {
  return expectedGeneration === generation ? null : { outcome: "moved-on", generation };
}

/** The next generation with this champion and this rollout, whichever of them changes. */
export function changed(
  current: AspiredModels,
  champion: VersionFacts,
  rollout: Rollout | null,
  versions: readonly VersionFacts[],
): Changed {
  const first = firstTrained(versions, champion.featureDigest);
  const roles: [number | undefined, Role][] = [
    [champion.version, "champion"],
    [rollout?.version, "challenger"],
    [first ?? undefined, "shadow"],
  ];
  const models: AspiredModel[] = [];
  for (const [version, role] of roles) {
    if (version !== undefined && !models.some((model) => model.version === version)) {
      models.push({ version, role });
    }
  }
  return { outcome: "changed", aspired: { generation: current.generation + 1, models, rollout } };
}

/**
 * Alias -> version, of those aliases that a version has: `champion`; `first`, the first trained one of the
 * champion's feature definition; `baseline`, the newest baseline.
 */
export function aliases(
  versions: readonly VersionFacts[],
  aspired: AspiredModels,
): Readonly<Partial<Record<"champion" | "first" | "baseline", number>>> {
  const champion = championOf(aspired);
  const digest = versions.find((version) => version.version === champion)?.featureDigest;
  const first = digest === undefined ? null : firstTrained(versions, digest);
  const baselines = versions.filter((version) => version.recipe === BASELINE_RECIPE);
  return {
    ...(champion === null ? {} : { champion }),
    ...(first === null ? {} : { first }),
    ...(baselines.length === 0 ? {} : { baseline: Math.max(...baselines.map((version) => version.version)) }),
  };
}

/** What made a generation. Only the first two change the champion. */
export type Change = "promote" | "rollback" | "rollout-start" | "rollout-share" | "rollback-rollout";

/** One entry of a line's history. */
export interface Succession {
  readonly change: Change;
  readonly champion: number;
}

/**
 * The champion to go back to: the one that served before the present one was promoted. Rolling back twice goes
 * back twice, and never to a version that was rolled back from. `history`: oldest first. null when there is none.
 */
export function previousChampion(history: readonly Succession[]): number | null {
  const line: number[] = [];
  for (const { change, champion } of history) {
    const at = change === "rollback" ? line.lastIndexOf(champion) : -1;
    if (at >= 0) line.length = at + 1;
    else if (line.at(-1) !== champion) line.push(champion);
  }
  return line.at(-2) ?? null;
}
