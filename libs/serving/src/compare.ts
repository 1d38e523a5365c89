import type { Tensor } from "@millrace/open-inference";
import { type ComparisonReport, createComparison } from "@millrace/rollout";
import type { ServedModel } from "./model.ts";
import { together } from "./warm-up.ts";

/** Larger differences are counted as such. */
const TOLERANCE = 0.01;

/**
 * How the answers of a version that is about to serve differ from the present one's on recorded requests, element by
 * element of all FP32 and FP64 outputs. null: there is nothing to compare.
 */
export async function compareOn(
  recorded: readonly (readonly Tensor[])[],
  present: ServedModel,
  next: ServedModel,
): Promise<ComparisonReport | null> {
  const comparison = createComparison({ tolerance: TOLERANCE });
  // What the next one takes and the present one does not is left out.
  for (const inputs of together(together(recorded, present), next)) {
    const [before, after] = await Promise.all([present.run(inputs), next.run(inputs)]);
    before.forEach(({ data }, i) => {
      const other = after[i]?.data;
      if (isFloat(data) && isFloat(other) && data.length === other.length) comparison.addTensors(data, other);
    });
  }
  const report = comparison.report();
  return report.pairs === 0 ? null : report;
}

function isFloat(data: unknown): data is Float32Array | Float64Array {
  return data instanceof Float32Array || data instanceof Float64Array;
}
