import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KafkaConnection, NatsConnection, S3Connection } from "./connections.ts";
import { ensurePorts } from "./ports.ts";
import type { ProcessStatus } from "./process.ts";
import { ensureSecrets } from "./secrets.ts";
import { prepareServers, type WantedServers } from "./servers.ts";
import { openInstance } from "./supervisor.ts";

/** Servers for one test file; only the wanted ones have a connection. */
export interface TestServers<W extends WantedServers> {
  readonly home: string;
  readonly kafka: W extends { readonly kafka: true } ? KafkaConnection : undefined;
  readonly nats: W extends { readonly nats: true } ? NatsConnection : undefined;
  readonly s3: W extends { readonly s3: string } ? S3Connection : undefined;
  /** State and pid of each, for tests that kill them. */
  status(): readonly ProcessStatus[];
  /** Stops them and removes their folder. */
  stop(): Promise<void>;
}

/**
 * Real servers in a temporary folder on random loopback ports, serving when the promise resolves (about 2 s when
 * built). They go with the test process, however it ends.
 */
export async function startTestServers<const W extends WantedServers>(wanted: W): Promise<TestServers<W>> {
  const home = await mkdtemp(join(tmpdir(), "millrace-test-"));
  const instance = await openInstance(home, () => {}, true);
  const stop = async (): Promise<void> => {
    await instance.stop();
    await rm(home, { recursive: true, force: true });
  };
  try {
    const ports = await ensurePorts(home, "random");
    const { processes, connections } = await prepareServers(
      home,
      wanted,
      ports,
      await ensureSecrets(home),
      {},
    );
    await instance.start(processes);
    const { kafka, nats, s3 } = connections;
    return { home, kafka, nats, s3, status: instance.status, stop } as TestServers<W>;
  } catch (error) {
    await stop();
    throw error;
  }
}
