import type { Profile } from "./profile.ts";
import type { TimeSplit } from "./split.ts";

/** Something about the data that a person should know (`warning`) or that forbids training (`blocking`). */
export interface Finding {
  readonly severity: "warning" | "blocking";
  /** A sentence with the numbers. */
  readonly text: string;
}

/** Share of duplicate ids above which something is broken rather than blurred. */
const DUPLICATES_SHARE_MAX = 0.01;
const RARE_SHARE = 0.001;
const MISSING_SHARE = 0.5;

/**
 * Checks examples before anybody learns from them. `otherFeatures`: rows that were left out because they were
 * computed by another feature definition. `training` and `heldOut` are the profiles of the two sides of the split,
 * null where there is no split. A finding that blocks comes first.
 */
export function validateExamples(data: {
  readonly training: Profile | null;
  readonly heldOut: Profile | null;
  readonly split: TimeSplit | null;
  readonly otherFeatures: number;
}): Finding[] {
  const findings: Finding[] = [];
  const block = (text: string): void => void findings.push({ severity: "blocking", text });
  const warn = (text: string): void => void findings.push({ severity: "warning", text });

  if (data.otherFeatures > 0) {
    warn(`${data.otherFeatures} examples were computed by another feature definition and are left out.`);
  }
  for (const [name, profile] of [
    ["training", data.training],
    ["held-out", data.heldOut],
  ] as const) {
    if (profile === null || profile.rows === 0) {
      block(`There are no ${name} examples.`);
      continue;
    }
    const { rows, positives, duplicateIds, strangeLabels } = profile;
    if (strangeLabels > 0) block(`${strangeLabels} of ${rows} ${name} labels are neither 0 nor 1.`);
    if (positives === 0 || positives === rows) {
      block(`All ${rows} ${name} labels are ${positives === 0 ? 0 : 1}: there is nothing to tell apart.`);
    } else if (Math.min(positives, rows - positives) < rows * RARE_SHARE) {
      warn(`Only ${positives} of ${rows} ${name} labels are positive.`);
    }
    if (duplicateIds > rows * DUPLICATES_SHARE_MAX) {
      block(`${duplicateIds} of ${rows} ${name} examples have an id that occurred before.`);
    } else if (duplicateIds > 0) {
      warn(`${duplicateIds} of ${rows} ${name} examples have an id that occurred before.`);
    }
  }
  if (data.training !== null && data.training.rows > 0) {
    const { rows, features } = data.training;
    for (const { name, missing, min, max } of features) {
      if (missing === rows) warn(`Feature ${name} is unknown in all training examples.`);
      else if (missing > rows * MISSING_SHARE) {
        warn(`Feature ${name} is unknown in ${missing} of ${rows} training examples.`);
      } else if (min === max) warn(`Feature ${name} has the same value in all training examples: ${min}.`);
    }
    if (features.every(({ min, max }) => min === max))
      block("No feature varies: there is nothing to learn from.");
  }
  const { training, heldOut, split } = data;
  if (training !== null && heldOut !== null && split !== null) {
    if (training.maxTimeMs >= split.heldOutFromMs || heldOut.minTimeMs < split.heldOutFromMs) {
      block("Training and held-out time overlap.");
    }
  }
  return findings.sort((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"));
}
