import { COMMON_SETTINGS, type Config, portSetting, readConfig } from "@millrace/runtime";
import { trustedKeysSetting } from "@millrace/signing";
import { z } from "zod";

const MIB = 1024 * 1024;
const SWITCH: z.ZodEnum<{ on: "on"; off: "off" }> = z.enum(["on", "off"]);

/** `name=token,name=token`: who may call, and by which name budgets know them. */
const callers: z.ZodType<ReadonlyMap<string, string>> = z
  .string()
  .transform((text, context): ReadonlyMap<string, string> => {
    const byToken = new Map<string, string>();
    for (const entry of text.split(",")) {
      const [, name, token] = /^([A-Za-z0-9_.-]{1,64})=([^\s,]{16,})$/.exec(entry.trim()) ?? [];
      if (name === undefined || token === undefined) {
        context.addIssue("expected NAME=TOKEN,NAME=TOKEN; a token has at least 16 characters");
        return z.NEVER;
      }
      byToken.set(token, name);
    }
    return byToken;
  });

const list: z.ZodType<readonly string[]> = z
  .string()
  .transform((text): readonly string[] => text.split(",").map((one) => one.trim()));

type Settings = typeof COMMON_SETTINGS & {
  MILLRACE_INFERENCE_PORT: ReturnType<typeof portSetting>;
  MILLRACE_INFERENCE_HTTP_PORT: ReturnType<typeof portSetting>;
  MILLRACE_INFERENCE_TRANSPORT: z.ZodDefault<z.ZodEnum<{ http2: "http2"; "grpc-js": "grpc-js" }>>;
  MILLRACE_INFERENCE_TLS_CERT: z.ZodOptional<z.ZodString>;
  MILLRACE_INFERENCE_TLS_KEY: z.ZodOptional<z.ZodString>;
  MILLRACE_INFERENCE_TLS_CLIENT_CA: z.ZodOptional<z.ZodString>;
  MILLRACE_INFERENCE_TOKEN: z.ZodOptional<z.ZodString>;
  MILLRACE_INFERENCE_CALLERS: z.ZodOptional<typeof callers>;
  MILLRACE_INFERENCE_BUDGET: z.ZodDefault<z.ZodCoercedNumber>;
  MILLRACE_INFERENCE_MEMORY_MB: z.ZodDefault<z.ZodCoercedNumber>;
  MILLRACE_INFERENCE_PROOF_MB: z.ZodDefault<z.ZodCoercedNumber>;
  MILLRACE_INFERENCE_REQUEST_MB: z.ZodDefault<z.ZodCoercedNumber>;
  MILLRACE_INFERENCE_MODEL_CONTROL: z.ZodDefault<typeof SWITCH>;
  MILLRACE_INFERENCE_LOG_CALLS: z.ZodDefault<typeof SWITCH>;
  MILLRACE_INFERENCE_TRITON_METRICS: z.ZodDefault<typeof SWITCH>;
  MILLRACE_INFERENCE_ORIGINS: z.ZodOptional<typeof list>;
  MILLRACE_FEATURE_URL: z.ZodOptional<z.ZodString>;
  MILLRACE_TRUSTED_KEYS: typeof trustedKeysSetting;
};

const SETTINGS: Settings = {
  ...COMMON_SETTINGS,
  MILLRACE_INFERENCE_PORT: portSetting("port of the Open Inference Protocol over gRPC; 0 picks a free one"),
  MILLRACE_INFERENCE_HTTP_PORT: portSetting(
    "port of the Open Inference Protocol over REST; 0 picks a free one",
  ),
  MILLRACE_INFERENCE_TRANSPORT: z
    .enum(["http2", "grpc-js"])
    .default("http2")
    .describe("what carries gRPC: our own HTTP/2 server, or grpc-js"),
  MILLRACE_INFERENCE_TLS_CERT: z
    .string()
    .optional()
    .describe("file of the server's certificate chain (PEM): both ports then speak TLS"),
  MILLRACE_INFERENCE_TLS_KEY: z.string().optional().describe("file of its private key (PEM)"),
  MILLRACE_INFERENCE_TLS_CLIENT_CA: z
    .string()
    .optional()
    .describe("file of the authority (PEM) whose certificates clients must have"),
  MILLRACE_INFERENCE_TOKEN: z
    .string()
    .min(16, "a token has at least 16 characters")
    .optional()
    .describe("bearer token that inference clients must send; unset: open, which only loopback may be"),
  MILLRACE_INFERENCE_CALLERS: callers
    .optional()
    .describe("instead of one token: NAME=TOKEN,NAME=TOKEN; budgets are by name"),
  MILLRACE_INFERENCE_BUDGET: z.coerce
    .number()
    .min(0)
    .default(0)
    .describe("rows per second that one caller may ask for; 0: no limit"),
  MILLRACE_INFERENCE_MEMORY_MB: z.coerce
    .number()
    .min(1)
    .default(4_096)
    .describe("MiB that loaded models may hold; beyond it idle lines are let go and loaded on demand"),
  MILLRACE_INFERENCE_PROOF_MB: z.coerce
    .number()
    .min(64)
    .default(4_096)
    .describe("MiB of address space that a new model may take while it is tried in a process of its own"),
  MILLRACE_INFERENCE_REQUEST_MB: z.coerce
    .number()
    .min(1)
    .max(1_024)
    .default(16)
    .describe("MiB of the largest request"),
  MILLRACE_INFERENCE_MODEL_CONTROL: SWITCH.default("off").describe("whether callers may unload models"),
  MILLRACE_INFERENCE_LOG_CALLS: SWITCH.default("on").describe(
    "whether answers to direct calls are logged to LINE.predictions",
  ),
  MILLRACE_INFERENCE_TRITON_METRICS: SWITCH.default("off").describe(
    "whether /metrics has nv_inference_* beside our own",
  ),
  MILLRACE_INFERENCE_ORIGINS: list
    .optional()
    .describe("origins of web pages that may call the REST port, separated by commas; unset: none"),
  MILLRACE_FEATURE_URL: z
    .string()
    .optional()
    .describe("host:port of the feature service: for requests that name an entity"),
  MILLRACE_TRUSTED_KEYS: trustedKeysSetting,
};

/** The inference service's settings, complete and frozen. */
export type InferenceConfig = Config<Settings>;

/** The configuration from the environment; throws a ConfigError that names what is wrong. */
export function readInferenceConfig(): InferenceConfig {
  return readConfig(SETTINGS, process.env);
}

/** Bytes of a setting in MiB. */
export const mebibytes = (count: number): number => count * MIB;
