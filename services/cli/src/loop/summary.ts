/** The end of a complete loop: do the counts add up, and what did the loop gain? Pure. */
import type { LiveQuality } from "./details.ts";

/** Counts of one line over its whole life. */
export interface Counts {
  /** Records in the producers' topics, by stream, read from Kafka itself. */
  readonly sent: Readonly<Record<string, number>>;
  readonly accepted: Readonly<Record<string, number>>;
  readonly rejected: number;
  readonly featured: number;
  readonly predicted: number;
  readonly labelled: number;
  readonly matched: number;
}

export interface Equation {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly holds: boolean;
}

/**
 * What must hold when nothing is under way: every event sent is accepted or rejected, every accepted event that the
 * line predicts on has one feature vector and one prediction, every matured label has one example.
 */
export function equations(counts: Counts, predictOn: string): Equation[] {
  const sent = total(counts.sent);
  const accepted = total(counts.accepted);
  const asked = counts.accepted[predictOn] ?? 0;
  return [
    equation("sent = accepted + rejected", sent, accepted + counts.rejected),
    equation(`accepted ${predictOn} = feature vectors`, asked, counts.featured),
    equation("feature vectors = predictions", counts.featured, counts.predicted),
    equation("matured labels = examples", counts.matched, counts.labelled),
  ];
}

function equation(text: string, left: number, right: number): Equation {
  return { text, left, right, holds: left === right };
}

/** Sum over streams. */
export function total(byStream: Readonly<Record<string, number>>): number {
  return Object.values(byStream).reduce((sum, value) => sum + value, 0);
}

/** The counts as one flat object, as `npm start -- --once --json` prints them. */
export function countsJson(counts: Counts): Record<string, number> {
  return {
    sent: total(counts.sent),
    accepted: total(counts.accepted),
    rejected: counts.rejected,
    featured: counts.featured,
    predicted: counts.predicted,
    labelled: counts.labelled,
  };
}

export interface QualityJson {
  readonly rows: number;
  readonly serving: { readonly ap: number; readonly auc: number; readonly logLoss: number };
  readonly first: { readonly ap: number; readonly auc: number; readonly logLoss: number } | null;
  readonly baseRate: { readonly ap: number };
}

export function qualityJson(quality: LiveQuality | null): QualityJson | null {
  if (quality === null) return null;
  const short = (scores: LiveQuality["serving"]): QualityJson["serving"] => ({
    ap: scores.averagePrecision,
    auc: scores.auc,
    logLoss: scores.logLoss,
  });
  return {
    rows: quality.rows,
    serving: short(quality.serving),
    first: quality.first === null ? null : short(quality.first),
    baseRate: { ap: quality.baseRate.averagePrecision },
  };
}
