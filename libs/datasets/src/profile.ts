/** Examples by column, all of the same length. NaN stands for an unknown feature value. */
export interface ExampleColumns {
  readonly ids: readonly (string | null)[];
  /** Event time ms. */
  readonly times: Float64Array;
  /** Event time ms at which the label became known. */
  readonly knownAt: Float64Array;
  /** 0 or 1. */
  readonly labels: Float32Array;
  /** One array per feature, in model order. */
  readonly values: readonly Float32Array[];
}

/** What a set of examples looks like. */
export interface Profile {
  readonly rows: number;
  readonly positives: number;
  /** Rows whose id occurred in an earlier row. */
  readonly duplicateIds: number;
  /** Labels that are neither 0 nor 1. */
  readonly strangeLabels: number;
  readonly minTimeMs: number;
  readonly maxTimeMs: number;
  readonly maxKnownAtMs: number;
  /** Of the known values; all are null where none is known. */
  readonly features: readonly {
    readonly name: string;
    readonly missing: number;
    readonly min: number | null;
    readonly max: number | null;
    readonly mean: number | null;
  }[];
}

/** Describes the examples in one pass per column. Times are 0 when there are no rows. */
export function profileExamples(columns: ExampleColumns, featureNames: readonly string[]): Profile {
  const rows = columns.times.length;
  return {
    rows,
    positives: count(columns.labels, (label) => label === 1),
    duplicateIds: rows - new Set(columns.ids).size,
    strangeLabels: count(columns.labels, (label) => label !== 0 && label !== 1),
    minTimeMs: rows === 0 ? 0 : columns.times.reduce((least, time) => Math.min(least, time), Infinity),
    maxTimeMs: columns.times.reduce((most, time) => Math.max(most, time), 0),
    maxKnownAtMs: columns.knownAt.reduce((most, time) => Math.max(most, time), 0),
    features: featureNames.map((name, index) => profileFeature(name, columns.values[index] as Float32Array)),
  };
}

function profileFeature(name: string, values: Float32Array): Profile["features"][number] {
  let known = 0;
  let sum = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    known++;
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const missing = values.length - known;
  return known === 0
    ? { name, missing, min: null, max: null, mean: null }
    : { name, missing, min, max, mean: sum / known };
}

function count(values: Float32Array, test: (value: number) => boolean): number {
  let found = 0;
  for (const value of values) if (test(value)) found++;
  return found;
}
