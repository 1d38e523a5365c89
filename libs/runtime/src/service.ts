import { flushCompileCache } from "node:module";
import type { ServiceStatus } from "@millrace/contracts";
import { ConfigError, withoutSecrets } from "./config.ts";
import { createLog, type Log } from "./log.ts";
import { type OpsServer, startOpsServer } from "./ops.ts";
import { startTelemetry } from "./telemetry.ts";

/** Something that holds resources. `stop` may be called in any state, more than once. */
export interface Resource {
  start(signal: AbortSignal): Promise<void>;
  /** Stop taking, finish what is held, commit; give up after the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

/** A service as `main.ts` runs it. */
export interface Service extends Resource {
  ready(): boolean;
  /** Lines part of the status; the rest is filled in by `runService`. */
  lines(): ServiceStatus["lines"];
  /** Metrics that it keeps itself, because they change too often for OpenTelemetry's instruments: Prometheus text. */
  metricsText?(): string;
}

interface CommonConfig {
  readonly MILLRACE_HOST: string;
  readonly MILLRACE_OPS_PORT: number;
  readonly MILLRACE_LOG_LEVEL: string;
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string | undefined;
}

/** What a service gets to report a defect that it cannot handle: the process ends and its supervisor starts it anew. */
export type Fail = (error: unknown) => void;

const STOP_DEADLINE_MS = 10_000;

/**
 * Runs one service from start to end: config, log, telemetry, ops port, the service itself, SIGTERM and SIGINT.
 * Exit codes: 0 stopped on request, 1 failed, 2 wrong configuration.
 */
export async function runService<C extends CommonConfig>(
  name: string,
  readConfig: () => C,
  build: (config: C, log: Log, fail: Fail) => Service,
): Promise<void> {
  let config: C;
  try {
    config = readConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`millrace ${name}: ${error.message}\n`);
    process.exit(2);
  }
  const log = createLog(name, config.MILLRACE_LOG_LEVEL);
  const telemetry = startTelemetry(name, config.OTEL_EXPORTER_OTLP_ENDPOINT);
  const startedAtMs = Date.now();
  let state: ServiceStatus["state"] = "starting";
  const enter = (next: ServiceStatus["state"]): void => {
    log.info({ from: state, to: next }, "state");
    state = next;
  };
  const abort = new AbortController();
  let ops: OpsServer | undefined;
  let ending: Promise<void> | undefined;

  const end = (code: number): Promise<void> => {
    ending ??= (async () => {
      enter(code === 0 ? "draining" : "failed");
      const force = setTimeout(() => process.exit(code === 0 ? 1 : code), STOP_DEADLINE_MS + 2_000);
      force.unref();
      await service
        .stop(STOP_DEADLINE_MS)
        .catch((error: unknown) => log.error({ err: error }, "stop failed"));
      abort.abort();
      await ops?.stop();
      await telemetry.stop().catch((error: unknown) => log.warn({ err: error }, "telemetry was not flushed"));
      if (code === 0) enter("stopped");
      process.exit(code);
    })();
    return ending;
  };
  const fail: Fail = (error) => {
    log.fatal({ err: error }, "failed");
    void end(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  process.on("SIGTERM", () => void end(0));
  process.on("SIGINT", () => void end(0));

  log.info({ config: withoutSecrets(config as unknown as Record<string, unknown>) }, "config");
  const service = build(config, log, fail);
  ops = await startOpsServer(config.MILLRACE_HOST, config.MILLRACE_OPS_PORT, telemetry, {
    ready: () => state === "running" && service.ready(),
    status: () => ({ service: name, state, startedAtMs, lines: service.lines() }),
    metricsText: () => service.metricsText?.() ?? "",
  });
  try {
    await service.start(abort.signal);
    // Node keeps compiled code, where it is told to, at the end of a process: one that is killed would leave none.
    flushCompileCache();
    if (ending === undefined) enter("running");
  } catch (error) {
    fail(error);
  }
}
