/** A caller's budget: `perSecond` units, of which up to `burst` may be spent at once. */
export interface BudgetOptions {
  readonly perSecond: number;
  readonly burst: number;
  /** Callers remembered; beyond it the one that asked longest ago is forgotten, and begins anew with a full budget. */
  readonly callersMax: number;
}

export interface Budgets {
  /** Spends `units` of a caller's budget at `nowMs`: 0 when it had them, else the ms after which it will. */
  spend(caller: string, units: number, nowMs: number): number;
}

interface Bucket {
  units: number;
  atMs: number;
}

/** Token buckets by caller. A request larger than the burst passes when the bucket is full, and is paid off after. */
export function createBudgets({ perSecond, burst, callersMax }: BudgetOptions): Budgets {
  const buckets = new Map<string, Bucket>();
  const bucketOf = (caller: string, nowMs: number): Bucket => {
    const known = buckets.get(caller);
    if (known === undefined) return { units: burst, atMs: nowMs };
    buckets.delete(caller);
    const earned = (Math.max(0, nowMs - known.atMs) / 1_000) * perSecond;
    known.units = Math.min(burst, known.units + earned);
    known.atMs = nowMs;
    return known;
  };
  return {
    spend: (caller, units, nowMs) => {
      const bucket = bucketOf(caller, nowMs);
      buckets.set(caller, bucket);
      if (buckets.size > callersMax) buckets.delete(buckets.keys().next().value as string);
      const needed = Math.min(units, burst);
      if (bucket.units < needed) return Math.ceil(((needed - bucket.units) / perSecond) * 1_000);
      bucket.units -= units;
      return 0;
    },
  };
}
