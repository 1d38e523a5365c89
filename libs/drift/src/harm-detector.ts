/**
 * E-detector for miscalibration (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential
 * change detection", 2023): a mixture of Shiryaev-Roberts sums of betting martingales.
 *
 * While the champion is calibrated up to `tolerance` in every slice, the residual label - score has a conditional
 * mean of at most the tolerance, so each bet 1 + stake * (sign * residual - tolerance) is an e-value, and the mean
 * time to a false alarm is at least `falseAlarmEvery` labels, whatever the labels' distribution and however the
 * base rate moves. Slices (everywhere, and each feature below or above its median) find a change that leaves the
 * overall mean alone.
 */
export interface HarmPolicy {
  readonly falseAlarmEvery: number;
  readonly tolerance: number;
}

/** Where the champion is wrong: everywhere, or where one feature lies below or above its median. */
export interface Slice {
  readonly feature: number | null;
  readonly above: boolean;
  /** +1: what happens is more than what was said; -1: less. */
  readonly sign: 1 | -1;
}

export interface HarmSnapshot {
  readonly medians: readonly number[];
  readonly sums: Float64Array;
  readonly cusums: Float64Array;
  readonly since: Float64Array;
  readonly rows: number;
}

const STAKES = [0.2, 0.6] as const;
const SUM_MAX = 1e100;

export class HarmDetector {
  readonly #policy: HarmPolicy;
  readonly #medians: readonly number[];
  readonly #slices: readonly Slice[];
  /** Per slice and stake: Shiryaev-Roberts sum, CUSUM (max product) and the time since which it grows. */
  readonly #sums: Float64Array;
  readonly #cusums: Float64Array;
  readonly #since: Float64Array;
  #rows: number;

  /** `medians` of the features, NaN for a feature that is not sliced by. */
  constructor(policy: HarmPolicy, medians: readonly number[], snapshot: HarmSnapshot | null = null) {
    this.#policy = policy;
    this.#medians = medians;
    const places: Pick<Slice, "feature" | "above">[] = [{ feature: null, above: true }];
    medians.forEach((median, feature) => {
      if (!Number.isNaN(median)) places.push({ feature, above: false }, { feature, above: true });
    });
    this.#slices = places.flatMap((place) => [
      { ...place, sign: 1 as const },
      { ...place, sign: -1 as const },
    ]);
    const size = this.#slices.length * STAKES.length;
    this.#sums = snapshot?.sums.slice() ?? new Float64Array(size);
    this.#cusums = snapshot?.cusums.slice() ?? new Float64Array(size).fill(1);
    this.#since = snapshot?.since.slice() ?? new Float64Array(size);
    this.#rows = snapshot?.rows ?? 0;
  }

  /** The evidence: 1 at the start of nothing, an alarm at `threshold`. */
  get statistic(): number {
    let sum = 0;
    for (const one of this.#sums) sum += one;
    return sum / this.#sums.length;
  }

  get threshold(): number {
    return this.#policy.falseAlarmEvery;
  }

  /** Labels seen. */
  get rows(): number {
    return this.#rows;
  }

  /** Takes in one matured label. True: the evidence has reached the threshold. */
  add(time: number, score: number, label: number, values: readonly (number | null)[]): boolean {
    const { tolerance } = this.#policy;
    const residual = label - score;
    this.#rows++;
    let at = 0;
    let sum = 0;
    for (const { feature, above, sign } of this.#slices) {
      const inside =
        feature === null || isInside(values[feature] ?? null, this.#medians[feature] as number, above);
      for (const stake of STAKES) {
        if (inside) {
          const bet = 1 + stake * (sign * residual - tolerance);
          this.#sums[at] = Math.min(SUM_MAX, ((this.#sums[at] as number) + 1) * bet);
          const cusum = this.#cusums[at] as number;
          if (cusum <= 1) this.#since[at] = time;
          this.#cusums[at] = Math.min(SUM_MAX, Math.max(1, cusum) * bet);
        }
        sum += this.#sums[at] as number;
        at++;
      }
    }
    return sum / this.#sums.length >= this.#policy.falseAlarmEvery;
  }

  /** The slice with the most evidence, and since when (event time) it has been growing. */
  leader(): { readonly slice: Slice; readonly since: number } {
    let best = 0;
    for (let i = 1; i < this.#sums.length; i++) {
      if ((this.#sums[i] as number) > (this.#sums[best] as number)) best = i;
    }
    return {
      slice: this.#slices[Math.floor(best / STAKES.length)] as Slice,
      since: this.#since[best] as number,
    };
  }

  snapshot(): HarmSnapshot {
    return {
      medians: this.#medians,
      sums: this.#sums.slice(),
      cusums: this.#cusums.slice(),
      since: this.#since.slice(),
      rows: this.#rows,
    };
  }
}

function isInside(value: number | null, median: number, above: boolean): boolean {
  return value !== null && value > median === above;
}
