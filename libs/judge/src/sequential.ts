import {
  averageOf,
  type BoundedMean,
  logEvidenceAbove,
  logEvidenceBelow,
  mergedMeans,
  startMean,
  withValue,
} from "./bounded-mean.ts";
import { type FailureOdds, logEvidenceOfFailures } from "./failure-odds.ts";

/** The challenger's loss less the champion's, where both scored the same labelled row. */
export type PairedLosses = BoundedMean;

/** The same where each unit was answered by one arm, drawn by chance. */
export interface ArmLosses extends BoundedMean {
  readonly lossMax: number;
  readonly propensityMin: number;
  /** Of both arms: the baseline that the next loss is measured from. */
  readonly lossSum: number;
}

/**
 * No pairs yet. Differences beyond `differenceMax` count as that much: it is the largest difference that one row may
 * make, and few rows need it large.
 * Throws a RangeError for a `differenceMax` that is not above 0 or a block of less than one row.
 */
export function startPairs(options: {
  readonly differenceMax: number;
  readonly blockRows: number;
}): PairedLosses {
  return startMean(options.differenceMax, options.blockRows);
}

/** Takes in the losses of one labelled row. Throws a RangeError for NaN. */
export function withPair(
  losses: PairedLosses,
  pair: { readonly champion: number; readonly challenger: number },
): PairedLosses {
  const difference = pair.challenger - pair.champion;
  if (Number.isNaN(difference)) {
    throw new RangeError(
      `the losses are ${pair.champion} and ${pair.challenger}: give numbers; a broken answer has the largest loss`,
    );
  }
  return withValue(losses, difference);
}

/**
 * No units yet. Losses lie within 0 to `lossMax`; larger ones count as that much. No unit may have been drawn with less
 * than `propensityMin`, the smallest share that an arm will ever have.
 * Throws a RangeError for a `lossMax` or `propensityMin` out of range or a block of less than one row.
 */
export function startArms(options: {
  readonly lossMax: number;
  readonly propensityMin: number;
  readonly blockRows: number;
}): ArmLosses {
  const { lossMax, propensityMin } = options;
  if (!(lossMax > 0 && lossMax < Infinity)) {
    throw new RangeError(`lossMax is ${lossMax}: give a number above 0`);
  }
  if (!(propensityMin > 0 && propensityMin <= 0.5)) {
    throw new RangeError(
      `propensityMin is ${propensityMin}: give the smaller arm's share, above 0, at most 0.5`,
    );
  }
  return { ...startMean(lossMax / propensityMin, options.blockRows), lossMax, propensityMin, lossSum: 0 };
}

/**
 * Takes in one unit: its arm, the probability that it got this arm, and its loss. The loss counts as an estimate of the
 * difference, (loss - baseline) / propensity with the arm's sign (Horvitz and Thompson, 1952). The baseline is the
 * average loss so far: it takes out what both arms share and, as it is known before the unit is drawn, biases nothing.
 * Throws a RangeError for NaN and for a propensity below `propensityMin` or above 1.
 */
export function withUnit(
  losses: ArmLosses,
  unit: {
    readonly role: "champion" | "challenger";
    readonly propensity: number;
    readonly loss: number;
  },
): ArmLosses {
  const { role, propensity } = unit;
  const { lossMax, propensityMin, lossSum, rows } = losses;
  if (!(propensity >= propensityMin && propensity <= 1)) {
    throw new RangeError(
      `propensity is ${propensity}: give ${propensityMin} to 1, or begin with a smaller minimum`,
    );
  }
  if (Number.isNaN(unit.loss)) {
    throw new RangeError("loss is NaN: give a number; a broken answer has the largest loss");
  }
  const loss = Math.min(lossMax, Math.max(0, unit.loss));
  const baseline = lossSum / Math.max(1, rows);
  const estimate = ((role === "challenger" ? 1 : -1) * (loss - baseline)) / propensity;
  return { ...losses, ...withValue(losses, estimate), lossSum: lossSum + loss };
}

/** What both have seen together, as `mergedMeans`. Throws a RangeError for tests of other limits. */
export function mergedArms(left: ArmLosses, right: ArmLosses): ArmLosses {
  for (const field of ["lossMax", "propensityMin"] as const) {
    if (left[field] !== right[field]) {
      throw new RangeError(`${field} is ${left[field]} and ${right[field]}: merge tests of one kind`);
    }
  }
  return { ...left, ...mergedMeans(left, right), lossSum: left.lossSum + right.lossSum };
}

/** All that a decision rests on. */
export interface Evidence {
  readonly loss: BoundedMean;
  /** By the name of what fails, for example `time-outs`. */
  readonly failures: Readonly<Record<string, FailureOdds>>;
}

export interface DecisionPolicy {
  /** The chance that a promotion is ever wrong, and the chance that a rollback is, however often one looks. */
  readonly alpha: number;
  /** A promotion waits for as many rows; a rollback does not wait. */
  readonly minRows: number;
  /** Promoted is what has a loss lower by more than this, at least 0. */
  readonly margin: number;
  /** Rolled back is what has a loss higher by more than this, at least 0. */
  readonly harm: number;
}

export interface Decision {
  readonly outcome: "promote" | "rollback" | "undecided";
  /** A sentence with the figures. */
  readonly reason: string;
}

/**
 * Decides, after any row, what the evidence so far is enough for. "promote": the challenger's loss is surely lower by
 * more than the margin. "rollback": it is surely higher by more than the harm, or a failure is surely more frequent than
 * allowed; these share one alpha equally. A failure outweighs a better loss.
 * Throws a RangeError that names the field of a policy that makes no sense.
 */
export function decide(evidence: Evidence, policy: DecisionPolicy): Decision {
  checkPolicy(policy);
  const { loss } = evidence;
  const { alpha, margin, harm, minRows } = policy;
  const failures = Object.entries(evidence.failures);
  const rollbackAlpha = alpha / (1 + failures.length);
  const rows = `${loss.rows} rows`;
  const average = averageOf(loss);
  const observed = `loss is ${average <= 0 ? "lower" : "higher"} by ${figure(Math.abs(average))} on average over ${rows}`;

  for (const [name, odds] of failures) {
    if (logEvidenceOfFailures(odds) < -Math.log(rollbackAlpha)) continue;
    return {
      outcome: "rollback",
      reason: `${name}: ${odds.challenger} of the challenger, ${odds.champion} of the champion: more than ${figure(odds.allowedRatio)} times as frequent with ${confidence(rollbackAlpha)}`,
    };
  }
  const higher = logEvidenceAbove(loss, harm);
  if (higher >= -Math.log(rollbackAlpha)) {
    const reason = `the challenger's ${observed}, by more than ${figure(harm)} with ${confidence(rollbackAlpha)}`;
    return { outcome: "rollback", reason };
  }
  const lower = logEvidenceBelow(loss, -margin);
  if (lower >= -Math.log(alpha)) {
    const certain = `the challenger's ${observed}, by more than ${figure(margin)} with ${confidence(alpha)}`;
    return loss.rows >= minRows
      ? { outcome: "promote", reason: certain }
      : { outcome: "undecided", reason: `${certain}, but ${minRows} rows are asked for` };
  }
  return {
    outcome: "undecided",
    reason: `the challenger's ${observed}: evidence ${figure(Math.exp(lower))} of ${figure(1 / alpha)} that it is lower by more than ${figure(margin)}, ${figure(Math.exp(higher))} of ${figure(1 / rollbackAlpha)} that it is higher by more than ${figure(harm)}`,
  };
}

function checkPolicy({ alpha, minRows, margin, harm }: DecisionPolicy): void {
  if (!(alpha > 0 && alpha < 1)) throw new RangeError(`alpha is ${alpha}: give a chance between 0 and 1`);
  for (const [name, value] of Object.entries({ minRows, margin, harm })) {
    if (!(value >= 0)) throw new RangeError(`${name} is ${value}: give 0 or more`);
  }
}

const figure = (value: number): string => String(Number(value.toPrecision(3)));
const confidence = (alpha: number): string => `${figure(100 * (1 - alpha))} % confidence`;
