import { COMMON_SETTINGS, type Config, portSetting, readConfig, secondsSetting } from "@millrace/runtime";

type Settings = typeof COMMON_SETTINGS & {
  MILLRACE_FEATURE_PORT: ReturnType<typeof portSetting>;
  MILLRACE_VERIFY_SECONDS: ReturnType<typeof secondsSetting>;
};

const SETTINGS: Settings = {
  ...COMMON_SETTINGS,
  MILLRACE_FEATURE_PORT: portSetting("port of the feature service's gRPC"),
  MILLRACE_VERIFY_SECONDS: secondsSetting(300, "how often a sample of what was served is computed again"),
};

export type FeatureConfig = Config<Settings>;

/** The configuration from the environment; throws a ConfigError that names what is wrong. */
export function readFeatureConfig(): FeatureConfig {
  return readConfig(SETTINGS, process.env);
}
