import { availableParallelism } from "node:os";
import { COMMON_SETTINGS, readConfig } from "@millrace/runtime";
import { signingKeySetting } from "@millrace/signing";
import { z } from "zod";

type Shape = typeof COMMON_SETTINGS & {
  readonly MILLRACE_LIGHTGBM_LIBRARY: z.ZodOptional<z.ZodString>;
  readonly MILLRACE_SIGNING_KEY: typeof signingKeySetting;
  readonly MILLRACE_TRAINER_THREADS: z.ZodType<number>;
  readonly MILLRACE_TRAINER_SECONDS: z.ZodType<number>;
  readonly PATH: z.ZodDefault<z.ZodString>;
};
export type Config = Readonly<z.infer<z.ZodObject<Shape>>>;

const SETTINGS: Shape = {
  ...COMMON_SETTINGS,
  MILLRACE_LIGHTGBM_LIBRARY: z
    .string()
    .optional()
    .describe("path of LightGBM's shared library; unset: candidates that need it sit out"),
  MILLRACE_SIGNING_KEY: signingKeySetting,
  MILLRACE_TRAINER_THREADS: z.coerce
    .number<number>()
    .int()
    .min(1)
    .default(availableParallelism())
    .describe("threads that a candidate may use"),
  MILLRACE_TRAINER_SECONDS: z.coerce
    .number<number>()
    .min(1)
    .default(600)
    .describe("longest training of one candidate"),
  PATH: z.string().default("/usr/local/bin:/usr/bin:/bin").describe("where recipes find their programs"),
};

/** The trainer's settings from the environment. Throws a ConfigError that lists every problem. */
export function readTrainerConfig(): Config {
  return readConfig(SETTINGS, process.env);
}
