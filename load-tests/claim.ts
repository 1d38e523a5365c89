/** A claim of the README, and how it is measured. `prove.ts` runs one; each file of `claims/` exports one as default. */

/** What the value must reach, in its own unit or as a multiple of the baseline. */
export type Target =
  | { readonly atLeast: number }
  | { readonly atMost: number }
  | { readonly atLeastTimesBaseline: number };

export interface Context {
  /** A line for people. */
  readonly say: (line: string) => void;
  /** Aborts at Ctrl-C and when the time is up: stop what was started. */
  readonly stop: AbortSignal;
}

export interface Measurement {
  /** The figure that the target speaks of; for things that must not happen, their count. */
  readonly value: number;
  /** The same figure of the peer, measured in the same run; null where there is no peer. */
  readonly baseline: number | null;
  /** Whatever else must hold for the value to count, where it does not: one sentence each. */
  readonly faults: readonly string[];
  /** Further figures by name, units in the names. */
  readonly parts: Readonly<Record<string, unknown>>;
}

export interface Claim {
  /** As its file is called. */
  readonly name: string;
  /** One sentence, as the README says it. */
  readonly statement: string;
  readonly unit: string;
  readonly target: Target;
  /** The measurement is given up after so long. */
  readonly limitSeconds: number;
  readonly run: (context: Context) => Promise<Measurement>;
}

export interface Verdict {
  /** Ours divided by the peer's. */
  readonly ratio: number | null;
  /** The target as a number in the value's unit. */
  readonly target: number;
  readonly pass: boolean;
}

/** Holds a measurement against a target. Throws a RangeError when the target needs a baseline and there is none. */
export function judge(target: Target, { value, baseline, faults }: Measurement): Verdict {
  const [bound, reached] = boundOf(target, value, baseline);
  return {
    ratio: baseline === null ? null : value / baseline,
    target: bound,
    pass: reached && faults.length === 0,
  };
}

function boundOf(target: Target, value: number, baseline: number | null): [bound: number, reached: boolean] {
  if ("atLeast" in target) return [target.atLeast, value >= target.atLeast];
  if ("atMost" in target) return [target.atMost, value <= target.atMost];
  if (baseline === null) throw new RangeError("a target in multiples of the baseline needs a baseline");
  const bound = target.atLeastTimesBaseline * baseline;
  return [bound, value >= bound];
}

/** The middle of some figures, for runs that are repeated. Throws a RangeError when there are none. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new RangeError("no figures");
  return sorted.length % 2 === 1 ? middle : (middle + (sorted[sorted.length / 2 - 1] as number)) / 2;
}
