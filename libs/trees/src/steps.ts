/**
 * What happens to the values of a row after the trees: a list of steps, each of which makes rows of `width` values of
 * rows of values. They are plain data, so that they pass from thread to thread.
 */
export type Step =
  | { readonly kind: "sigmoid" | "softmax"; readonly width: number }
  /** Each value and the constant of its column. */
  | { readonly kind: Arithmetic; readonly width: number; readonly constants: readonly number[] }
  /** Some values of each row of `from`. */
  | {
      readonly kind: "select";
      readonly width: number;
      readonly from: number;
      readonly columns: readonly number[];
    }
  /** The score of the positive class becomes two, those of the negative and of the positive one. */
  | { readonly kind: "pair"; readonly width: 2; readonly negative: "opposite" | "complement" | "sigmoid" };

export type Arithmetic = "add" | "subtract" | "subtractFrom" | "multiply" | "divide";

export const arithmetic = (kind: Arithmetic, constants: readonly number[]): Step => ({
  kind,
  width: constants.length,
  constants,
});

/** Reads rows of values from one array and writes the rows that the step makes of them to another one. */
export function applyStep(step: Step, from: Float32Array, to: Float32Array, rows: number): void {
  const { width } = step;
  const end = rows * width;
  switch (step.kind) {
    case "sigmoid":
      for (let at = 0; at < end; at++) to[at] = sigmoid(from[at] as number);
      return;
    case "softmax":
      for (let at = 0; at < end; at += width) softmax(from, to, at, at + width);
      return;
    case "select": {
      let at = 0;
      for (let row = 0; row < rows * step.from; row += step.from) {
        for (const column of step.columns) to[at++] = from[row + column] as number;
      }
      return;
    }
    case "pair":
      for (let i = 0; i < rows; i++) {
        const score = from[i] as number;
        const isLogistic = step.negative === "sigmoid";
        to[2 * i] = isLogistic ? sigmoid(-score) : step.negative === "opposite" ? -score : 1 - score;
        to[2 * i + 1] = isLogistic ? sigmoid(score) : score;
      }
      return;
    default:
      for (let at = 0; at < end; at++) {
        to[at] = calculate(step.kind, from[at] as number, step.constants[at % width] as number);
      }
  }
}

const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));

/** exp(value) of each value, divided by their sum; scaled by the largest, so that nothing overflows. */
function softmax(from: Float32Array, to: Float32Array, start: number, end: number): void {
  let [largest, sum] = [-Infinity, 0];
  for (let j = start; j < end; j++) largest = Math.max(largest, from[j] as number);
  for (let j = start; j < end; j++) sum += to[j] = Math.exp((from[j] as number) - largest);
  for (let j = start; j < end; j++) to[j] = (to[j] as number) / sum;
}

/** In FP32, as the steps store it: the double result of one operation on FP32 values rounds to the FP32 one. */
function calculate(kind: Arithmetic, value: number, constant: number): number {
  switch (kind) {
    case "add":
      return value + constant;
    case "subtract":
      return value - constant;
    case "subtractFrom":
      return constant - value;
    case "multiply":
      return value * constant;
    case "divide":
      return value / constant;
  }
}
