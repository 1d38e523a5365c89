import { type LogisticParameters, standardise } from "@millrace/onnx-graph";

export type Scaling = Pick<LogisticParameters, "means" | "scales" | "fill">;

/**
 * Mean and standard deviation of the known values of each feature, as FP32 numbers, so that the model in FP32
 * standardises exactly as training does. An unknown value becomes the mean. Infinite values count as unknown here;
 * a feature that is constant or never known gets scale 1.
 */
export function scalingOf(matrix: Float32Array, width: number): Scaling {
  const means: number[] = [];
  const scales: number[] = [];
  for (let j = 0; j < width; j++) {
    let count = 0;
    let mean = 0;
    let squares = 0;
    // Welford's method: no cancellation where values are large and alike.
    for (let at = j; at < matrix.length; at += width) {
      const x = matrix[at] as number;
      if (!Number.isFinite(x)) continue;
      count++;
      const delta = x - mean;
      mean += delta / count;
      squares += delta * (x - mean);
    }
    const scale = Math.fround(Math.sqrt(squares / Math.max(1, count)));
    means.push(Math.fround(mean));
    scales.push(scale > 0 && Number.isFinite(scale) ? scale : 1);
  }
  return { means, scales, fill: means };
}

/** The matrix as the model sees it: imputed, standardised, clipped. */
export function standardised(matrix: Float32Array, { means, scales, fill }: Scaling): Float32Array {
  const width = means.length;
  return matrix.map((x, at) => {
    const j = at % width;
    return standardise(x, means[j] as number, scales[j] as number, fill[j] as number);
  });
}

/** Scores in double precision, one per row. */
export function scoreLogistic(matrix: Float32Array, parameters: LogisticParameters): number[] {
  const { weights, bias } = parameters;
  const width = weights.length;
  const z = standardised(matrix, parameters);
  return Array.from({ length: z.length / width }, (_, i) => {
    let logit = bias;
    for (let j = 0; j < width; j++) logit += (weights[j] as number) * (z[i * width + j] as number);
    return sigmoid(logit);
  });
}

export interface Step {
  /** Weights [width], then the bias. */
  readonly coefficients: Float64Array<ArrayBuffer>;
  /** Mean log loss over the rows, without the penalty. */
  readonly loss: number;
}

const ITERATIONS_MAX = 50;
const HALVINGS_MAX = 30;
/** The largest part of the gradient, per row, at which training has converged. */
const TOLERANCE = 1e-8;

/**
 * Minimises sum of log losses + l2/2 |weights|^2 (the bias is free) by Newton's method, halving a step that does not
 * help. Yields after each step; ends when it has converged. Deterministic. `matrix` [rows x width] standardised,
 * row-major; labels 0 or 1.
 */
export function* newtonSteps(
  matrix: Float32Array,
  labels: Float32Array,
  width: number,
  l2: number,
): Generator<Step, void, void> {
  const rows = labels.length;
  let current = evaluate(matrix, labels, new Float64Array(width + 1), l2);
  for (let iteration = 0; iteration < ITERATIONS_MAX; iteration++) {
    if (current.gradient.every((g) => Math.abs(g) <= TOLERANCE * rows)) return;
    const direction = solve(hessian(matrix, current.scores, width, l2), current.gradient);
    let next = current;
    for (
      let halving = 0, size = 1;
      halving < HALVINGS_MAX && !(next.objective < current.objective);
      halving++, size /= 2
    ) {
      const coefficients = current.coefficients.map((c, j) => c - size * (direction[j] as number));
      next = evaluate(matrix, labels, coefficients, l2);
    }
    // No smaller value within rounding: this is the minimum.
    if (!(next.objective < current.objective)) return;
    current = next;
    yield { coefficients: current.coefficients, loss: current.loss };
  }
}

interface Evaluation extends Step {
  readonly objective: number;
  readonly gradient: Float64Array;
  readonly scores: Float64Array;
}

/** Objective and gradient at the coefficients. Exported for the test that compares it with differences. */
export function evaluate(
  matrix: Float32Array,
  labels: Float32Array,
  coefficients: Float64Array<ArrayBuffer>,
  l2: number,
): Evaluation {
  const width = coefficients.length - 1;
  const rows = labels.length;
  const scores = new Float64Array(rows);
  const gradient = new Float64Array(width + 1);
  let sum = 0;
  for (let i = 0, at = 0; i < rows; i++, at += width) {
    let logit = coefficients[width] as number;
    for (let j = 0; j < width; j++) logit += (coefficients[j] as number) * (matrix[at + j] as number);
    const label = labels[i] as number;
    const score = sigmoid(logit);
    scores[i] = score;
    // log(1 + exp(logit)) - label * logit, without overflow.
    sum += Math.max(logit, 0) + Math.log1p(Math.exp(-Math.abs(logit))) - label * logit;
    const error = score - label;
    for (let j = 0; j < width; j++)
      gradient[j] = (gradient[j] as number) + error * (matrix[at + j] as number);
    gradient[width] = (gradient[width] as number) + error;
  }
  let penalty = 0;
  for (let j = 0; j < width; j++) {
    const weight = coefficients[j] as number;
    penalty += (l2 / 2) * weight * weight;
    gradient[j] = (gradient[j] as number) + l2 * weight;
  }
  return { coefficients, loss: sum / rows, objective: sum + penalty, gradient, scores };
}

/** Lower triangle [n x n] of the second derivatives, n = width + 1. */
function hessian(matrix: Float32Array, scores: Float64Array, width: number, l2: number): Float64Array {
  const n = width + 1;
  const h = new Float64Array(n * n);
  const row = new Float64Array(n);
  row[width] = 1;
  for (let i = 0, at = 0; i < scores.length; i++, at += width) {
    const score = scores[i] as number;
    const curvature = score * (1 - score);
    for (let j = 0; j < width; j++) row[j] = matrix[at + j] as number;
    for (let j = 0; j < n; j++) {
      const scaled = curvature * (row[j] as number);
      if (scaled === 0) continue;
      for (let k = 0, to = j * n; k <= j; k++, to++) h[to] = (h[to] as number) + scaled * (row[k] as number);
    }
  }
  // A little more than the penalty keeps the matrix positive where a feature never varies.
  for (let j = 0; j < n; j++) h[j * n + j] = (h[j * n + j] as number) + (j < width ? l2 : 0) + RIDGE;
  return h;
}

const RIDGE = 1e-9;

/** Solves A x = b for a positive definite A given as its lower triangle, by Cholesky's method. Changes A. */
function solve(a: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  const get = (i: number, j: number): number => a[i * n + j] as number;
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = get(i, j);
      for (let k = 0; k < j; k++) sum -= get(i, k) * get(j, k);
      a[i * n + j] = i === j ? Math.sqrt(Math.max(sum, RIDGE)) : sum / get(j, j);
    }
  }
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    let sum = x[i] as number;
    for (let k = 0; k < i; k++) sum -= get(i, k) * (x[k] as number);
    x[i] = sum / get(i, i);
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = x[i] as number;
    for (let k = i + 1; k < n; k++) sum -= get(k, i) * (x[k] as number);
    x[i] = sum / get(i, i);
  }
  return x;
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
