import type { Quality } from "@millrace/contracts";

/**
 * Scores are kept this far from 0 and 1 in the log loss, about the step of FP32 below 1: a certain and wrong score
 * costs 15.9, not infinity.
 */
export const SCORE_MARGIN: number = 2 ** -23;

/**
 * The score of one row as the judge counts it: what is not a probability (NaN, below 0, above 1) counts as certain
 * and wrong, so that a broken model loses instead of stopping the judge.
 */
export function countedScore(score: number, label: number): number {
  return score >= 0 && score <= 1 ? score : 1 - label;
}

/** Log loss of one row, in nats. */
export function rowLogLoss(score: number, label: number): number {
  const p = countedScore(score, label);
  const right = label === 1 ? p : 1 - p;
  return -Math.log(Math.min(1 - SCORE_MARGIN, Math.max(SCORE_MARGIN, right)));
}

/**
 * Measures scores against labels (0 or 1), one per row: mean log loss and Brier score, area under the ROC curve
 * (ties count half; 0.5 when one class is missing) and average precision (sum of precision times the step of recall
 * over distinct scores; 0 without positives).
 * Throws a RangeError for no rows, lengths that differ or a label that is not 0 or 1.
 */
export function qualityOf(scores: ArrayLike<number>, labels: ArrayLike<number>): Quality {
  checkRows(scores, labels);
  const rows = labels.length;
  const counted = Float64Array.from({ length: rows }, (_, i) =>
    countedScore(scores[i] as number, labels[i] as number),
  );
  let positives = 0;
  let logLoss = 0;
  let squares = 0;
  for (let i = 0; i < rows; i++) {
    const label = labels[i] as number;
    positives += label;
    logLoss += rowLogLoss(scores[i] as number, label);
    squares += (label - (counted[i] as number)) ** 2;
  }
  return {
    rows,
    positives,
    logLoss: logLoss / rows,
    brier: squares / rows,
    ...ranking(counted, labels, positives),
  };
}

/** Walks the rows from the highest score to the lowest, equal scores at once. */
function ranking(
  scores: Float64Array,
  labels: ArrayLike<number>,
  positives: number,
): { averagePrecision: number; auc: number } {
  const negatives = scores.length - positives;
  const order = Uint32Array.from(scores.keys()).sort((a, b) => (scores[b] as number) - (scores[a] as number));
  let truePositives = 0;
  let averagePrecision = 0;
  let pairs = 0;
  for (let from = 0; from < order.length; ) {
    const score = scores[order[from] as number];
    let until = from;
    let hits = 0;
    for (; until < order.length && scores[order[until] as number] === score; until++) {
      hits += labels[order[until] as number] as number;
    }
    const misses = until - from - hits;
    pairs += misses * (truePositives + hits / 2);
    truePositives += hits;
    averagePrecision += hits * (truePositives / until);
    from = until;
  }
  return {
    averagePrecision: positives === 0 ? 0 : averagePrecision / positives,
    auc: positives === 0 || negatives === 0 ? 0.5 : pairs / (positives * negatives),
  };
}

/** Throws a RangeError for no rows, lengths that differ or a label that is not 0 or 1. */
export function checkRows(scores: ArrayLike<number>, labels: ArrayLike<number>): void {
  if (labels.length === 0) throw new RangeError("there are no rows to judge on");
  if (scores.length !== labels.length)
    throw new RangeError(`${scores.length} scores for ${labels.length} labels`);
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1)
      throw new RangeError(`label ${labels[i]} of row ${i} is not 0 or 1`);
  }
}
