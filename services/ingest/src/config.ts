import { COMMON_SETTINGS, type Config, readConfig } from "@millrace/runtime";
import { z } from "zod";

const SETTINGS: typeof COMMON_SETTINGS & {
  MILLRACE_SCHEMA_REGISTRY_URL: z.ZodOptional<z.ZodURL>;
  MILLRACE_SCHEMA_REGISTRY_USERNAME: z.ZodOptional<z.ZodString>;
  MILLRACE_SCHEMA_REGISTRY_PASSWORD: z.ZodOptional<z.ZodString>;
} = {
  ...COMMON_SETTINGS,
  MILLRACE_SCHEMA_REGISTRY_URL: z
    .url({ protocol: /^https?$/, error: "an http or https URL is expected" })
    .optional()
    .describe("URL of a Confluent-compatible schema registry, for lines with streams in that format"),
  MILLRACE_SCHEMA_REGISTRY_USERNAME: z.string().optional().describe("its user, where it asks for one"),
  MILLRACE_SCHEMA_REGISTRY_PASSWORD: z.string().optional().describe("its password"),
};

export type IngestConfig = Config<typeof SETTINGS>;

/** Reads the settings from the environment. Throws a ConfigError that names what is wrong. */
export function readIngestConfig(): IngestConfig {
  return readConfig(SETTINGS, process.env);
}
