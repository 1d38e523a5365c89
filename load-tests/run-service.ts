import { join } from "node:path";
import {
  compileCache,
  REPOSITORY,
  SERVICE_ALLOCATOR,
  SERVICE_NODE_FLAGS,
  type ServiceName,
} from "@millrace/local";
import { answers, freePorts, type PinnedProcess, startPinned } from "./pinned-process.ts";

export const TOKEN = "a-token-for-measurements";

/** Where nobody listens: whoever calls is refused at once, as by a server that is down. */
const NOBODY = "127.0.0.1:1";

/** The settings of a service that can reach nobody; a claim that has servers replaces theirs. */
const ALONE: Readonly<Record<string, string>> = {
  MILLRACE_HOST: "127.0.0.1",
  MILLRACE_TOKEN: TOKEN,
  MILLRACE_LOG_LEVEL: "warn",
  MILLRACE_REGISTRY_URL: NOBODY,
  MILLRACE_FEATURE_URL: NOBODY,
  MILLRACE_KAFKA_BROKERS: NOBODY,
  MILLRACE_NATS_URL: NOBODY,
  MILLRACE_S3_URL: `http://${NOBODY}`,
  MILLRACE_S3_ACCESS_KEY: "nobody",
  MILLRACE_S3_SECRET_KEY: "nobody-at-all",
};

export interface ServiceRun {
  readonly service: ServiceName;
  readonly folder: string;
  readonly core: number;
  /** Beside and instead of those of a service that can reach nobody. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface RunningService extends PinnedProcess {
  /** Of its gRPC. */
  readonly port: number;
  readonly opsPort: number;
}

/** Starts a service as `npm start` does, pinned to a core. */
export async function runService(run: ServiceRun, stop: AbortSignal): Promise<RunningService> {
  const { service, folder, core, settings } = run;
  const [port, opsPort] = (await freePorts(2)) as [number, number];
  const started = await startPinned(
    {
      name: service,
      command: process.execPath,
      args: [...SERVICE_NODE_FLAGS, join(REPOSITORY, `services/${service}/src/main.ts`)],
      env: {
        ...ALONE,
        MILLRACE_DATA: folder,
        [`MILLRACE_${service.toUpperCase()}_PORT`]: String(port),
        MILLRACE_OPS_PORT: String(opsPort),
        NODE_COMPILE_CACHE: compileCache(),
        ...SERVICE_ALLOCATOR[service],
        ...settings,
      },
      core,
      ready: () => answers(`http://127.0.0.1:${opsPort}/readyz`),
    },
    stop,
  );
  return { ...started, port, opsPort };
}
