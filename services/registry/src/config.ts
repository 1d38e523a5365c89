import { COMMON_SETTINGS, portSetting, readConfig } from "@millrace/runtime";
import { trustedKeysSetting } from "@millrace/signing";

const SETTINGS: typeof COMMON_SETTINGS & {
  MILLRACE_REGISTRY_PORT: ReturnType<typeof portSetting>;
  MILLRACE_TRUSTED_KEYS: typeof trustedKeysSetting;
} = {
  ...COMMON_SETTINGS,
  MILLRACE_REGISTRY_PORT: portSetting("port of the registry's gRPC; 0 picks a free one"),
  MILLRACE_TRUSTED_KEYS: trustedKeysSetting,
};

/** The registry's settings, complete and frozen. */
export type RegistryConfig = ReturnType<typeof readConfig<typeof SETTINGS>>;

/** Reads the environment. Throws a ConfigError that names every wrong setting. */
export function readRegistryConfig(): RegistryConfig {
  return readConfig(SETTINGS, process.env);
}
