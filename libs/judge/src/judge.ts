import type { Verdict } from "@millrace/contracts";
import type { Gates } from "@millrace/lines";
import { lowerBoundOfMean } from "./confidence.ts";
import { checkRows, qualityOf, rowLogLoss } from "./quality.ts";

/** Everything the judge looks at. Rows are held-out examples in the order of their event time. */
export interface Trial {
  /** 0 or 1. */
  readonly labels: ArrayLike<number>;
  /** Scores of the version that serves; null when none does. */
  readonly champion: ArrayLike<number> | null;
  readonly candidates: readonly Contestant[];
  /** Share of positive labels in what the candidates learnt from: what knowing nothing else would score. */
  readonly baseRate: number;
  readonly gates: Pick<Gates, "minGain">;
  readonly heldOut: { readonly fromMs: number; readonly untilMs: number };
}

export interface Contestant {
  /** For example `lightgbm/since-change`. */
  readonly name: string;
  readonly scores: ArrayLike<number>;
  /** How long it trained. */
  readonly seconds: number;
}

type Gate = Verdict["gates"][number];

/**
 * Chooses the candidate with the least log loss (the earlier one of equals) and checks its gates:
 * `beats-base-rate`, better than the constant base rate; and, where a champion serves, `gain`, better than it by
 * `minGain` on average, and `gain-is-certain`, the lower 95 % bound of that gain, paired row by row, is above 0.
 * The winner is `candidates[0]` of the verdict. Throws a RangeError for no candidates, no rows, lengths that differ
 * or labels that are not 0 or 1; scores that are not probabilities count as certain and wrong.
 */
export function judgeCandidates(trial: Trial): Verdict {
  const { labels, champion, gates } = trial;
  const ranked = trial.candidates
    .map((contestant) => ({ contestant, quality: qualityOf(contestant.scores, labels) }))
    .sort((a, b) => a.quality.logLoss - b.quality.logLoss);
  const best = ranked[0];
  if (best === undefined) throw new RangeError("there are no candidates to judge");
  const candidate = best.quality;
  const championQuality = champion === null ? null : qualityOf(champion, labels);
  const baseRate = qualityOf(new Float64Array(labels.length).fill(trial.baseRate), labels);

  const checked: Gate[] = [above("beats-base-rate", baseRate.logLoss - candidate.logLoss, 0)];
  if (champion !== null && championQuality !== null) {
    const gain = championQuality.logLoss - candidate.logLoss;
    const certain = lowerBoundOfMean(gains(champion, best.contestant.scores, labels));
    checked.push({ gate: "gain", passed: gain >= gates.minGain, value: gain, bound: gates.minGain });
    checked.push(above("gain-is-certain", certain, 0));
  }
  return {
    passed: checked.every((gate) => gate.passed),
    reason: reasonOf(best.contestant.name, checked),
    candidate,
    champion: championQuality,
    baseRate,
    gates: checked,
    heldOut: { ...trial.heldOut, rows: labels.length },
    candidates: ranked.map(({ contestant, quality }) => ({
      name: contestant.name,
      logLoss: quality.logLoss,
      averagePrecision: quality.averagePrecision,
      seconds: contestant.seconds,
    })),
  };
}

/** How much less each row costs with the candidate than with the champion, in nats. */
function gains(
  champion: ArrayLike<number>,
  candidate: ArrayLike<number>,
  labels: ArrayLike<number>,
): Float64Array {
  checkRows(champion, labels);
  return Float64Array.from({ length: labels.length }, (_, i) => {
    const label = labels[i] as number;
    return rowLogLoss(champion[i] as number, label) - rowLogLoss(candidate[i] as number, label);
  });
}

const above = (gate: string, value: number, bound: number): Gate => ({
  gate,
  passed: value > bound,
  value,
  bound,
});

function reasonOf(name: string, gates: readonly Gate[]): string {
  const failed = gates.find((gate) => !gate.passed);
  const value = (gate: string): string => (gates.find((g) => g.gate === gate)?.value ?? 0).toFixed(4);
  switch (failed?.gate) {
    case undefined:
      return gates.length === 1
        ? `${name} is better than the base rate: log loss lower by ${value("beats-base-rate")}`
        : `${name} is better than the champion: log loss lower by ${value("gain")}, at least ${value("gain-is-certain")} with 95 % confidence`;
    case "beats-base-rate":
      return `${name} is not better than the base rate: log loss lower by ${value("beats-base-rate")}`;
    case "gain":
      return `${name} is not better than the champion by ${failed?.bound}: log loss lower by ${value("gain")}`;
    default:
      return `${name} may be better than the champion by chance: log loss lower by ${value("gain")}, but only ${value("gain-is-certain")} with 95 % confidence`;
  }
}
