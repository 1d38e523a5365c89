import { REGISTRY_SUBJECT, registryApi } from "@millrace/contracts";
import { createKafkaBroker, kafkaSettings } from "@millrace/kafka";
import { createAnnouncer } from "@millrace/nats";
import { createRpcClient, serve, startRpcServer } from "@millrace/rpc";
import { type Fail, type Log, type Service, systemClock } from "@millrace/runtime";
import type { FeatureConfig } from "./config.ts";
import { buildFeature } from "./service.ts";

/** The feature service on real servers. */
export function wire(config: FeatureConfig, log: Log, fail: Fail): Service {
  const registry = createRpcClient(registryApi.RegistryService, config.MILLRACE_REGISTRY_URL, {
    token: config.MILLRACE_TOKEN,
  });
  const announcer = createAnnouncer({
    url: config.MILLRACE_NATS_URL,
    token: config.MILLRACE_NATS_TOKEN,
    log,
  });
  const broker = createKafkaBroker(kafkaSettings("feature", config, log));
  return buildFeature(config, {
    broker,
    lines: {
      list: async () => (await registry.listLines({})).lines,
      onChange: (look) => announcer.subscribe(REGISTRY_SUBJECT, look),
    },
    serveOnline: (service, handlers) =>
      startRpcServer({
        host: config.MILLRACE_HOST,
        port: config.MILLRACE_FEATURE_PORT,
        token: config.MILLRACE_TOKEN,
        services: [serve(service, handlers)],
        requestBytesMax: 1_048_576,
        onDefect: (method, error) => log.error({ err: error, method }, "defect in a handler"),
      }),
    clock: systemClock,
    log,
    fail,
    close: async () => {
      registry.close();
      await announcer.stop();
      await broker.stop();
    },
  });
}
