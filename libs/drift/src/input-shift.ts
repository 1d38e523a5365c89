const BINS = 10;
/** Keeps empty bins from making the index infinite. */
const SHARE_MIN = 1e-4;

/** Shares of a feature's values: in ten bins by the reference's deciles, and of values not known. */
export class FeatureHistogram {
  readonly #edges: readonly number[];
  readonly #counts = new Float64Array(BINS + 1);
  #rows = 0;

  constructor(edges: readonly number[]) {
    this.#edges = edges;
  }

  add(value: number | null): void {
    let bin = BINS;
    if (value !== null) {
      bin = 0;
      while (bin < this.#edges.length && value > (this.#edges[bin] as number)) bin++;
    }
    (this.#counts[bin] as number)++;
    this.#rows++;
  }

  shares(): number[] {
    return Array.from(this.#counts, (count) => (this.#rows === 0 ? 0 : count / this.#rows));
  }
}

/** Inner edges of the deciles of the known values; ties collapse into one edge. */
export function decileEdges(values: readonly (number | null)[]): number[] {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  const edges = Array.from(
    { length: BINS - 1 },
    (_, i) => known[Math.floor(((i + 1) * known.length) / BINS)] ?? 0,
  );
  return [...new Set(edges)];
}

/**
 * Population stability index: sum over bins of (live - reference) * ln(live / reference). By custom, above 0.25
 * counts as a large shift. Shown to people; it raises no alarm, because it has no budget of false ones.
 */
export function populationStabilityIndex(reference: readonly number[], live: readonly number[]): number {
  return reference.reduce((sum, share, i) => {
    const r = Math.max(share, SHARE_MIN);
    const l = Math.max(live[i] ?? 0, SHARE_MIN);
    return sum + (l - r) * Math.log(l / r);
  }, 0);
}
