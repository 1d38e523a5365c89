import { COMMON_SETTINGS, type Config, portSetting, readConfig } from "@millrace/runtime";
import { z } from "zod";

type Settings = typeof COMMON_SETTINGS & {
  MILLRACE_INFERENCE_PORT: ReturnType<typeof portSetting>;
  MILLRACE_INFERENCE_TOKEN: z.ZodOptional<z.ZodString>;
};

const SETTINGS: Settings = {
  ...COMMON_SETTINGS,
  MILLRACE_INFERENCE_PORT: portSetting("port of the Open Inference Protocol over gRPC; 0 picks a free one"),
  MILLRACE_INFERENCE_TOKEN: z
    .string()
    .min(16, "a token has at least 16 characters")
    .optional()
    .describe("bearer token that inference clients must send; unset: open, which only loopback may be"),
};

/** The inference service's settings, complete and frozen. */
export type InferenceConfig = Config<Settings>;

/** The configuration from the environment; throws a ConfigError that names what is wrong. */
export function readInferenceConfig(): InferenceConfig {
  return readConfig(SETTINGS, process.env);
}
