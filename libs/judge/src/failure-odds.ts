import { logOfMean } from "./bounded-mean.ts";

/** How many times more often than allowed the challenger may fail: what the test is built to find. */
const EXCESSES: readonly number[] = [1.25, 1.5, 2, 4, 8, 32];

/** Whose failures they were: plain JSON. */
export interface FailureOdds {
  /** The challenger may fail this many times as often as the champion. */
  readonly allowedRatio: number;
  readonly champion: number;
  readonly challenger: number;
  readonly logCapitals: readonly number[];
}

/**
 * Watches a rate of failures: errors, time-outs, answers later than the objective. Given that an answer failed, the
 * odds that it was the challenger's are those of the assignment times the ratio of the two rates, whatever the rates
 * are (Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022). So only failures count,
 * an outage that hits both arms proves nothing, and the challenger's share may change on the way. Each failure is a bet
 * against "at most `allowedRatio` times as often", on several larger ratios at once.
 * Throws a RangeError for a ratio that is not at least 1.
 */
export function startFailures(allowedRatio: number): FailureOdds {
  if (!(allowedRatio >= 1 && allowedRatio < Infinity)) {
    throw new RangeError(`allowedRatio is ${allowedRatio}: give 1 for "not more often", or more`);
  }
  return { allowedRatio, champion: 0, challenger: 0, logCapitals: EXCESSES.map(() => 0) };
}

/**
 * Takes in one failure: whose, and the probability with which the challenger would have got that unit. For mirrored
 * answers, of which both arms gave one: those that failed in one arm only, with 1/2.
 * Throws a RangeError for a probability that is not between 0 and 1: without chance there is nothing to learn.
 */
export function withFailure(
  odds: FailureOdds,
  failure: { readonly role: "champion" | "challenger"; readonly challengerShare: number },
): FailureOdds {
  const { role, challengerShare: p } = failure;
  if (!(p > 0 && p < 1)) {
    throw new RangeError(
      `challengerShare is ${p}: give the share, above 0 and below 1, that the unit was drawn with`,
    );
  }
  /** The largest probability, under the claim, that a failure is the challenger's. */
  const q = (p * odds.allowedRatio) / (p * odds.allowedRatio + 1 - p);
  return {
    ...odds,
    [role]: odds[role] + 1,
    logCapitals: odds.logCapitals.map((log, k) => {
      const excess = EXCESSES[k] as number;
      return log + Math.log((role === "challenger" ? excess : 1) / (1 - q + q * excess));
    }),
  };
}

/** What both have seen together; as valid as if one had seen it. Throws a RangeError for other ratios. */
export function mergedFailures(left: FailureOdds, right: FailureOdds): FailureOdds {
  if (left.allowedRatio !== right.allowedRatio) {
    throw new RangeError(
      `allowedRatio is ${left.allowedRatio} and ${right.allowedRatio}: merge tests of one kind`,
    );
  }
  return {
    ...left,
    champion: left.champion + right.champion,
    challenger: left.challenger + right.challenger,
    logCapitals: left.logCapitals.map((log, k) => log + (right.logCapitals[k] as number)),
  };
}

/** The e-value against "the challenger fails at most `allowedRatio` times as often", as a natural logarithm. */
export function logEvidenceOfFailures(odds: FailureOdds): number {
  return logOfMean(odds.logCapitals);
}
