import type { RecipeChoice, TrainingWindow } from "@millrace/lines";

/** One training to do: a recipe on one window of the examples. */
export interface Candidate {
  /** `RECIPE/WINDOW`, for example `lightgbm/since-change`; unique within a run. */
  readonly name: string;
  readonly recipe: string;
  readonly window: TrainingWindow;
  readonly config: NonNullable<RecipeChoice["config"]>;
}

/**
 * The candidates of one run, in the order of the line's recipes and their windows. `since-change` is left out while
 * no change is known (`changeTimeMs` null), so a recipe with that window alone sits such a run out. A recipe that is
 * named again (with another configuration) is numbered: `lightgbm-2/all`. Repeated windows count once.
 */
export function candidatesOf(
  recipes: readonly RecipeChoice[],
  changeTimeMs: number | null,
): readonly Candidate[] {
  const seen = new Map<string, number>();
  return recipes.flatMap(({ recipe, windows, config = {} }) => {
    const times = (seen.get(recipe) ?? 0) + 1;
    seen.set(recipe, times);
    const label = times === 1 ? recipe : `${recipe}-${times}`;
    return [...new Set(windows)]
      .filter((window) => window !== "since-change" || changeTimeMs !== null)
      .map((window) => ({ name: `${label}/${window}`, recipe, window, config }));
  });
}
