/** Recipe of the model that a line starts with: its constant base rate. It is not trained. */
export const BASELINE_RECIPE = "baseline";

/** champion: answers. shadow: scores the same rows beside it, for comparison only. */
export type Role = "champion" | "shadow";

export interface AspiredModel {
  readonly version: number;
  readonly role: Role;
}

/** What inference nodes shall serve for one line. Generation 0: nothing was promoted yet. */
export interface AspiredModels {
  readonly generation: number;
  /** The champion first, then shadows. Empty at generation 0 only. */
  readonly models: readonly AspiredModel[];
}

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
export const NOTHING_ASPIRED: AspiredModels = { generation: 0, models: [] };

/** The champion's version; null when there is none. */
export function championOf(aspired: AspiredModels): number | null {
  return aspired.models.find((model) => model.role === "champion")?.version ?? null;
}

/**
 * The version that was trained first: lowest number, not the baseline, verdict passed, and of the given feature
 * definition, because a model of another one cannot score the same rows. null when there is none.
 */
export function firstTrained(versions: readonly VersionFacts[], featureDigest: string): number | null {
  const trained = versions.filter(
    (version) =>
      version.recipe !== BASELINE_RECIPE && version.passed && version.featureDigest === featureDigest,
  );
  return trained.length === 0 ? null : Math.min(...trained.map((version) => version.version));
}

/**
 * The aspired set after a promotion or a rollback: compare-and-set on the generation (V1, V3). The first trained
 * version goes along as a shadow unless it is the champion itself. `moved-on`: somebody else was faster; read the
 * set again and decide anew.
 */
export function nextAspired(
  current: AspiredModels,
  change: AspiredChange,
  versions: readonly VersionFacts[],
):
  | { readonly outcome: "changed"; readonly aspired: AspiredModels }
  | { readonly outcome: "moved-on"; readonly generation: number } {
  if (change.expectedGeneration !== current.generation) {
    return { outcome: "moved-on", generation: current.generation };
  }
  const { version, featureDigest } = change.champion;
  const first = firstTrained(versions, featureDigest);
  const models: AspiredModel[] = [{ version, role: "champion" }];
  if (first !== null && first !== version) models.push({ version: first, role: "shadow" });
  return { outcome: "changed", aspired: { generation: current.generation + 1, models } };
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

/** One entry of a line's history. */
export interface Succession {
  readonly change: "promote" | "rollback";
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
