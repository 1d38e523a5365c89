import { COMMON_SETTINGS, type Config, readConfig } from "@millrace/runtime";

export type IngestConfig = Config<typeof COMMON_SETTINGS>;

/** Reads the settings from the environment. Throws a ConfigError that names what is wrong. */
export function readIngestConfig(): IngestConfig {
  return readConfig(COMMON_SETTINGS, process.env);
}
