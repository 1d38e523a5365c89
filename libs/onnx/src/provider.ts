import { listSupportedBackends } from "onnxruntime-node";

/** Where onnxruntime can run a model. */
const PROVIDERS = ["cpu", "cuda", "webgpu", "coreml", "dml"] as const;
export type Provider = (typeof PROVIDERS)[number];

/**
 * The providers that this build of onnxruntime knows. Whether the machine has the device and its libraries shows when
 * a model is loaded.
 */
export function availableProviders(): Provider[] {
  const names = listSupportedBackends().map(({ name }) => name);
  return PROVIDERS.filter((provider) => names.includes(provider));
}
