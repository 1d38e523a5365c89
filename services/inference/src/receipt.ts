import { constantParameters, type Parameters } from "@millrace/open-inference";
import type { Handle, VersionModel } from "@millrace/serving";
import { type Arm, CHAMPION } from "./choose.ts";

/** Made once per version and arm: they go with each of its answers. */
const receipts = new WeakMap<VersionModel, Map<string, Parameters>>();

/** What answered, on what grounds: enough to recompute the answer. */
export function receiptOf(
  { of }: Handle,
  arm: Arm,
  traceparent: string,
  extra: Parameters | null,
): Parameters {
  let byArm = receipts.get(of);
  if (byArm === undefined) receipts.set(of, (byArm = new Map()));
  const key = arm === CHAMPION ? "" : `${arm.role} ${arm.propensity}`;
  let receipt = byArm.get(key);
  if (receipt === undefined) {
    receipt = constantParameters([
      ["model_digest", of.artifactDigest],
      ["feature_digest", of.featureDigest],
      ["dataset_digest", of.datasetDigest],
      ["arm", arm.role],
      ["propensity", arm.propensity],
    ]);
    byArm.set(key, receipt);
  }
  const trace = traceIdOf(traceparent);
  if (trace === "" && extra === null) return receipt;
  return new Map([...receipt, ...(extra ?? []), ...(trace === "" ? [] : ([["trace_id", trace]] as const))]);
}

/** The trace of a W3C traceparent; empty when the call has none. */
export function traceIdOf(traceparent: string): string {
  if (traceparent === "") return "";
  return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(traceparent)?.[1] ?? "";
}
