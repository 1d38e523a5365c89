import { resolve } from "node:path";

/** What the command takes from its environment. */
export interface CliConfig {
  /** Colours on the terminal; off with NO_COLOR (https://no-color.org) or a dumb terminal. */
  readonly color: boolean;
  /** Whether the terminal can be redrawn. */
  readonly redraw: boolean;
  /** MILLRACE_LOG_LEVEL; the command's own log (of the Kafka client) is silent unless it is set. */
  readonly logLevel: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The only reader of the environment. */
export function readConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): CliConfig {
  const dumb = environment["TERM"] === "dumb";
  return {
    color: !environment["NO_COLOR"] && !dumb,
    redraw: !dumb,
    logLevel: environment["MILLRACE_LOG_LEVEL"] || "silent",
    environment,
  };
}

/** The environment with the home folder that the user named; without one, the environment decides. */
export function withHome(config: CliConfig, home: string | undefined): CliConfig {
  if (home === undefined) return config;
  return { ...config, environment: { ...config.environment, MILLRACE_HOME: resolve(home) } };
}
