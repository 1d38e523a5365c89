import type { ServiceStatus } from "@millrace/contracts";
import { type Clock, every, type Log, type Service, sleep, withDeadline } from "@millrace/runtime";
import type { Broker } from "@millrace/stream";
import { championOf } from "@millrace/versions";
import { type AnnouncerPort, createAnnouncements } from "./announce.ts";
import { blockHandlers } from "./blocks.ts";
import { checkpointHandlers } from "./checkpoints.ts";
import { leaseHandlers } from "./leases.ts";
import { lineHandlers } from "./lines.ts";
import { promoteHandlers } from "./promote.ts";
import { registerHandlers } from "./register.ts";
import { rolloutHandlers } from "./rollouts.ts";
import { runHandlers } from "./runs.ts";
import type { Store } from "./store.ts";
import { ensureAllTopics } from "./topics.ts";
import type { RegistryHandlers } from "./wire.ts";

export type { AnnouncerPort } from "./announce.ts";
export { Refusal } from "./request.ts";
export { openSqliteStore } from "./sqlite.ts";
export { type Store, UnusableStoreError } from "./store.ts";
export type { Caller, RegistryHandlers } from "./wire.ts";

/** What the registry needs of the world. */
export interface RegistryPorts {
  /** Throws an UnusableStoreError. */
  readonly openStore: () => Store;
  readonly broker: Broker;
  readonly announcer: AnnouncerPort;
  /** Ed25519 public keys, PEM: a version is taken only when one of them has signed it. Empty: signatures are not asked for. */
  readonly trustedKeys: readonly string[];
  /** Serves the handlers over gRPC; callers without the token are refused, a Refusal reaches them as it is. */
  readonly serve: (handlers: RegistryHandlers) => Promise<{ stop(deadlineMs: number): Promise<void> }>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often the status is brought up to date, and NATS looked after. */
const TICK_MS = 500;
/** How long a stop waits for a delivery in flight. */
const GRACE_MS = 1_000;

/**
 * The registry. Ready once its store is open and gRPC is bound; Kafka and NATS may come and go. Start it once.
 */
export function buildRegistry(ports: RegistryPorts): Service {
  const { broker, announcer, clock, log } = ports;
  const stopping = new AbortController();
  let store: Store | null = null;
  let server: Awaited<ReturnType<RegistryPorts["serve"]>> | null = null;
  let background: readonly Promise<void>[] = [];
  let lines: ServiceStatus["lines"] = {};
  let stopped: Promise<void> | null = null;

  const stop = async (deadlineMs: number): Promise<void> => {
    const refused = server?.stop(deadlineMs);
    stopping.abort();
    await refused;
    server = null;
    // A send that waits for Kafka is given up: what it holds is kept, and sent by the next process.
    await Promise.race([Promise.all(background), sleep(Math.min(deadlineMs, GRACE_MS))]);
    await Promise.allSettled([
      withDeadline(deadlineMs, "closing Kafka", broker.stop()),
      withDeadline(deadlineMs, "closing NATS", announcer.stop()),
    ]).then((results) => {
      for (const result of results)
        if (result.status === "rejected") log.warn({ err: result.reason }, "stop");
    });
    await store?.close();
    store = null;
  };

  return {
    start: async (signal) => {
      signal.addEventListener("abort", () => stopping.abort(), { once: true });
      const opened = ports.openStore();
      store = opened;
      const announcements = createAnnouncements({ store: opened, broker, announcer, log });
      server = await ports.serve({
        ...lineHandlers({ store: opened, broker, clock, announcements }),
        ...blockHandlers({ store: opened }),
        ...checkpointHandlers({ store: opened, clock }),
        ...leaseHandlers({ store: opened, clock }),
        ...runHandlers({ store: opened, clock }),
        ...registerHandlers({ store: opened, clock, announcements, trustedKeys: ports.trustedKeys }),
        ...promoteHandlers({ store: opened, clock, announcements }),
        ...rolloutHandlers({ store: opened, clock, announcements }),
      });

      let wasConnected = false;
      const tick = async (): Promise<void> => {
        lines = await statusOf(opened);
        const isConnected = announcer.connected();
        if (isConnected && !wasConnected) await announcements.announceAll();
        wasConnected = isConnected;
      };
      await tick();
      background = [
        every(TICK_MS, stopping.signal, tick, (error) => log.error({ err: error }, "status")),
        ensureAllTopics(broker, opened, log, stopping.signal).then(() =>
          announcements.deliver(stopping.signal),
        ),
      ];
    },
    stop: (deadlineMs) => {
      stopped ??= stop(deadlineMs);
      return stopped;
    },
    ready: () => store !== null && server !== null,
    lines: () => lines,
  };
}

async function statusOf(store: Store): Promise<ServiceStatus["lines"]> {
  return await store.transaction(async (tables) => {
    const entries = (await tables.lines()).map(async ({ name, revision }) => {
      const { streamTimeMs, ...counts } = await tables.lineCounts(name);
      const aspired = await tables.aspired(name);
      const champion = aspired === null ? null : championOf(aspired);
      const details = { champion, generation: aspired?.generation ?? 0, revision };
      return [name, { counts, lag: {}, streamTimeMs, details }] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  });
}
