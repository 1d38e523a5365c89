import { join } from "node:path";
import { registryApi } from "@millrace/contracts";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { RpcError, serve, startRpcServer } from "@millrace/rpc";
import { bearerTokens, type Log, systemClock } from "@millrace/runtime";
import type { RegistryConfig } from "./config.ts";
import { Refusal } from "./request.ts";
import type { RegistryPorts } from "./service.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { Caller, RegistryHandlers } from "./wire.ts";

const REQUEST_BYTES_MAX = 8 * 1024 * 1024;

/** Names the adapters behind the registry's ports. */
export function wireRegistry(config: RegistryConfig, log: Log): RegistryPorts {
  return {
    openStore: () => openSqliteStore(join(config.MILLRACE_DATA, "registry.sqlite")),
    broker: createKafkaBroker(kafkaSettings("registry", config, log)),
    announcer: createAnnouncer({ url: config.MILLRACE_NATS_URL, token: config.MILLRACE_NATS_TOKEN, log }),
    trustedKeys: config.MILLRACE_TRUSTED_KEYS,
    serve: (handlers) =>
      serveRegistry(handlers, {
        host: config.MILLRACE_HOST,
        port: config.MILLRACE_REGISTRY_PORT,
        token: config.MILLRACE_TOKEN,
        log,
      }),
    clock: systemClock,
    log,
  };
}

/** Serves the handlers over gRPC. `port` 0 picks a free one, which the answer and the log name. */
export async function serveRegistry(
  handlers: RegistryHandlers,
  options: { readonly host: string; readonly port: number; readonly token: string; readonly log: Log },
): Promise<{ readonly port: number; stop(deadlineMs: number): Promise<void> }> {
  const { host, port, token, log } = options;
  const server = await startRpcServer({
    host,
    port,
    authorise: bearerTokens([token]),
    requestBytesMax: REQUEST_BYTES_MAX,
    onDefect: (method, error) => log.error({ err: error, method }, "call failed"),
    services: [serve(registryApi.RegistryService, mapRefusals(handlers))],
  });
  log.info({ host, port: server.port }, "gRPC is bound");
  return server;
}

/** The one place where a Refusal becomes a gRPC status. */
function mapRefusals(handlers: RegistryHandlers): RegistryHandlers {
  const mapped = Object.entries(handlers).map(([name, handler]) => [
    name,
    async (request: never, call: Caller) => {
      try {
        return await (handler as (request: never, call: Caller) => Promise<unknown>)(request, call);
      } catch (error) {
        if (error instanceof Refusal) throw new RpcError(error.code, error.message, { cause: error });
        throw error;
      }
    },
  ]);
  return Object.fromEntries(mapped) as RegistryHandlers;
}
