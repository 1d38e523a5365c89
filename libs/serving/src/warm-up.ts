import { ARRAYS, concatRows, type Tensor, type TensorSpec } from "@millrace/open-inference";
import type { RunTimes } from "./batch-clock.ts";
import type { VersionModel } from "./generation.ts";
import { featureTensor, ModelContractError, type ServedModel, scoresOf } from "./model.ts";

const WARM_UP_ROWS = [1, 64];
/** A dimension that the request chooses is made up with this size. */
const FREE_DIMENSION = 1;

/**
 * Runs a new model before anybody waits for it, so that the first real request finds memory and code in place, and so
 * that a model which cannot answer never serves: on recorded requests, and, where its line has features, on rows of
 * zeros and of unknown values, to each of which the answer must be a finite number. Throws a ModelContractError, or the
 * model's own error when it fails a recorded request. Resolves with how long its runs took; the first of each size,
 * which finds nothing in place, does not count. `now`: monotonic ms.
 */
export async function warmUp(
  model: ServedModel,
  of: Pick<VersionModel, "featureNames">,
  recorded: readonly (readonly Tensor[])[],
  now: () => number,
): Promise<RunTimes> {
  const times = new Map<number, number>();
  const run = async (inputs: readonly Tensor[]): Promise<readonly Tensor[]> => {
    const startedAt = now();
    const outputs = await model.run(inputs);
    const rows = model.signature.batches ? (inputs[0]?.shape[0] ?? 1) : 1;
    const best = times.get(rows);
    times.set(rows, best === undefined ? Number.POSITIVE_INFINITY : Math.min(best, now() - startedAt));
    return outputs;
  };
  if (of.featureNames.length > 0) await warmUpRows(model, run, of.featureNames.length);
  else if (recorded.length === 0) await warmUpMadeUp(model);
  for (const inputs of together(recorded, model)) await run(inputs);
  return new Map([...times].filter(([, ms]) => Number.isFinite(ms)));
}

/** Recorded requests that a model takes; where it batches, as few as their shapes allow: each run takes its turn. */
export function together(
  recorded: readonly (readonly Tensor[])[],
  { signature }: ServedModel,
): readonly (readonly Tensor[])[] {
  const fitting = recorded.filter((inputs) => fits(signature.inputs, inputs));
  if (!signature.batches) return fitting;
  const byShape = Map.groupBy(fitting, (inputs) =>
    inputs.map(({ shape }) => shape.slice(1).join()).join("|"),
  );
  return [...byShape.values()].map((alike) =>
    signature.inputs.map((_, i) => concatRows(alike.map((inputs) => inputs[i] as Tensor))),
  );
}

async function warmUpRows(
  { signature }: ServedModel,
  run: (inputs: readonly Tensor[]) => Promise<readonly Tensor[]>,
  features: number,
): Promise<void> {
  const width = signature.inputs[0]?.shape[1];
  if (width !== features) {
    throw new ModelContractError(`it takes ${width} values per row, its version names ${features} features`);
  }
  for (const rows of WARM_UP_ROWS) {
    for (const value of [0, Number.NaN]) {
      const [output] = await run([featureTensor(new Float32Array(rows * features).fill(value), rows)]);
      scoresOf(output, rows);
    }
  }
}

/** A model of any signature: that it takes zeros is likely but not certain, so its refusal of them proves nothing. */
async function warmUpMadeUp(model: ServedModel): Promise<void> {
  try {
    await model.run(model.signature.inputs.map(zeros));
  } catch {
    // The first real request warms it up.
  }
}

/** A tensor of zeros (BYTES: empty texts) that a model with this input may take. */
function zeros({ name, datatype, shape }: TensorSpec): Tensor {
  const sizes = shape.map((size) => (size < 0 ? FREE_DIMENSION : size));
  const values = sizes.reduce((product, size) => product * size, 1);
  const data =
    datatype === "BYTES"
      ? Array.from({ length: values }, () => new Uint8Array(0))
      : new ARRAYS[datatype](values);
  return { name, datatype, shape: sizes, data };
}

/** Whether a request recorded for one version can be given to another one. */
function fits(specs: readonly TensorSpec[], inputs: readonly Tensor[]): boolean {
  return (
    specs.length === inputs.length &&
    specs.every(({ name, datatype, shape }, i) => {
      const input = inputs[i] as Tensor;
      return (
        input.name === name &&
        input.datatype === datatype &&
        input.shape.length === shape.length &&
        shape.every((size, d) => size < 0 || size === input.shape[d])
      );
    })
  );
}
