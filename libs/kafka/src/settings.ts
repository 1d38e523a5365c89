import type { ConnectionOptions } from "node:tls";
import type { Log } from "@millrace/runtime";

export interface KafkaSettings {
  readonly clientId: string;
  /** `host:port` each. */
  readonly brokers: readonly string[];
  /** SASL/PLAIN; null: the brokers ask for no credentials. */
  readonly sasl: { readonly username: string; readonly password: string } | null;
  /** TLS, as `node:tls` takes it; null or left out: plain TCP. */
  readonly tls?: ConnectionOptions | null;
  readonly log: Log;
  /** For how long brokers that are away are asked again before a call rejects. */
  readonly patienceMs?: number;
}

/** The settings as every service's configuration holds them. */
export function kafkaSettings(
  service: string,
  config: {
    readonly MILLRACE_KAFKA_BROKERS: string;
    readonly MILLRACE_KAFKA_USERNAME?: string | undefined;
    readonly MILLRACE_KAFKA_PASSWORD?: string | undefined;
  },
  log: Log,
): KafkaSettings {
  const {
    MILLRACE_KAFKA_BROKERS: brokers,
    MILLRACE_KAFKA_USERNAME: username,
    MILLRACE_KAFKA_PASSWORD: password,
  } = config;
  return {
    clientId: `millrace-${service}`,
    brokers: brokers.split(","),
    sasl: username === undefined || password === undefined ? null : { username, password },
    log,
  };
}
