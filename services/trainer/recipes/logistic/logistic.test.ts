import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate, newtonSteps, type Step, scalingOf, scoreLogistic, standardised } from "./logistic.ts";

const WIDTH = 3;
const value = fc.float({ noNaN: true, min: -2, max: 2 });
const problem = fc
  .array(
    fc.record({ row: fc.array(value, { minLength: WIDTH, maxLength: WIDTH }), label: fc.constantFrom(0, 1) }),
    {
      minLength: 4,
      maxLength: 40,
    },
  )
  .map((data) => ({
    matrix: Float32Array.from(data.flatMap(({ row }) => row)),
    labels: Float32Array.from(data, ({ label }) => label),
  }))
  .filter(({ labels }) => new Set(labels).size === 2);

/** The objective, written down again. */
function naiveObjective(
  matrix: Float32Array,
  labels: Float32Array,
  coefficients: readonly number[],
  l2: number,
): number {
  let sum = 0;
  labels.forEach((label, i) => {
    let logit = coefficients[WIDTH]!;
    for (let j = 0; j < WIDTH; j++) logit += coefficients[j]! * matrix[i * WIDTH + j]!;
    const p = 1 / (1 + Math.exp(-logit));
    sum -= Math.log(label === 1 ? p : 1 - p);
  });
  for (let j = 0; j < WIDTH; j++) sum += (l2 / 2) * coefficients[j]! ** 2;
  return sum;
}

function train(matrix: Float32Array, labels: Float32Array, l2: number): Step {
  const steps = [...newtonSteps(matrix, labels, WIDTH, l2)];
  return steps.at(-1) ?? { coefficients: new Float64Array(WIDTH + 1), loss: Number.NaN };
}

describe("evaluate", () => {
  it("has the gradient that differences of the objective give", () => {
    const coefficient = fc.double({ noNaN: true, min: -2, max: 2 });
    const coefficients = fc.array(coefficient, { minLength: WIDTH + 1, maxLength: WIDTH + 1 });
    fc.assert(
      fc.property(problem, coefficients, ({ matrix, labels }, at) => {
        const { gradient, objective } = evaluate(matrix, labels, Float64Array.from(at), 0.5);
        expect(objective).toBeCloseTo(naiveObjective(matrix, labels, at, 0.5), 6);
        const h = 1e-5;
        at.forEach((_, j) => {
          const moved = (by: number): number =>
            naiveObjective(
              matrix,
              labels,
              at.map((c, k) => (k === j ? c + by : c)),
              0.5,
            );
          expect(gradient[j]).toBeCloseTo((moved(h) - moved(-h)) / (2 * h), 4);
        });
      }),
    );
  });
});

describe("newtonSteps", () => {
  it("ends where the gradient is zero, and every step helps", () => {
    fc.assert(
      fc.property(problem, ({ matrix, labels }) => {
        const steps = [...newtonSteps(matrix, labels, WIDTH, 1)];
        const objectives = steps.map((step) => evaluate(matrix, labels, step.coefficients, 1).objective);
        for (let i = 1; i < objectives.length; i++) expect(objectives[i]!).toBeLessThan(objectives[i - 1]!);
        const last = steps.at(-1);
        if (last === undefined) return;
        const { gradient } = evaluate(matrix, labels, last.coefficients, 1);
        for (const g of gradient) expect(Math.abs(g) / labels.length).toBeLessThan(1e-5);
      }),
    );
  });

  it("finds the log odds of the base rate where the features say nothing", () => {
    const labels = Float32Array.from([1, 0, 0, 0, 1, 0, 0, 0]);
    const { coefficients } = train(new Float32Array(labels.length * WIDTH), labels, 1);
    expect(coefficients[WIDTH]).toBeCloseTo(Math.log(0.25 / 0.75), 8);
  });

  it("converges on separable classes, held by the penalty", () => {
    const labels = Float32Array.from({ length: 50 }, (_, i) => i % 2);
    const matrix = Float32Array.from({ length: 50 * WIDTH }, (_, at) =>
      Math.floor(at / WIDTH) % 2 === 1 ? 1 : -1,
    );
    const { loss, coefficients } = train(matrix, labels, 1);
    expect(loss).toBeLessThan(0.1);
    expect(coefficients.every(Number.isFinite)).toBe(true);
  });

  it("gives the same bits every time", () => {
    fc.assert(
      fc.property(problem, ({ matrix, labels }) => {
        expect(train(matrix, labels, 1)).toEqual(train(matrix, labels, 1));
      }),
      { numRuns: 20 },
    );
  });
});

describe("scaling", () => {
  it("takes known values only, and copes with constant, unknown and infinite ones", () => {
    const nan = Number.NaN;
    const matrix = Float32Array.from([1, 5, nan, 3, 5, nan, nan, 5, Infinity]);
    const scaling = scalingOf(matrix, 3);
    expect(scaling).toEqual({ means: [2, 5, 0], scales: [1, 1, 1], fill: [2, 5, 0] });
    expect([...standardised(matrix, scaling)]).toEqual([-1, 0, 0, 1, 0, 0, 0, 0, 10]);
  });

  it("keeps precision where values are large and alike", () => {
    const matrix = Float32Array.from({ length: 1_000 }, (_, i) => 16_000_000 + (i % 2));
    expect(scalingOf(matrix, 1).scales[0]).toBeCloseTo(0.5, 6);
  });
});

describe("scoreLogistic", () => {
  it("is the formula", () => {
    const parameters = { weights: [1, -2], bias: 0.5, means: [0, 1], scales: [1, 2], fill: [0, 3] };
    const scores = scoreLogistic(Float32Array.from([1, Number.NaN, 3, 4]), parameters);
    expect(scores[0]).toBeCloseTo(1 / (1 + Math.exp(0.5)), 12);
    expect(scores[1]).toBeCloseTo(1 / (1 + Math.exp(-0.5)), 12);
  });
});
