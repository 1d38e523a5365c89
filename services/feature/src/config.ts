import { COMMON_SETTINGS, type Config, portSetting, readConfig } from "@millrace/runtime";

type Settings = typeof COMMON_SETTINGS & { MILLRACE_FEATURE_PORT: ReturnType<typeof portSetting> };

const SETTINGS: Settings = {
  ...COMMON_SETTINGS,
  MILLRACE_FEATURE_PORT: portSetting("port of the feature service's gRPC"),
};

export type FeatureConfig = Config<Settings>;

/** The configuration from the environment; throws a ConfigError that names what is wrong. */
export function readFeatureConfig(): FeatureConfig {
  return readConfig(SETTINGS, process.env);
}
