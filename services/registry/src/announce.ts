import { HEADERS, MESH_TOPICS, REGISTRY_SUBJECT, type RegistryChange } from "@millrace/contracts";
import { type Log, meter, sleep } from "@millrace/runtime";
import type { Broker, OutputRecord } from "@millrace/stream";
import type { PendingChange, Store, Tables } from "./store.ts";

/** Says "look again", at most once; never throws or waits. */
export interface AnnouncerPort {
  publish(subject: string, payload: object, traceparent?: string): void;
  connected(): boolean;
  stop(): Promise<void>;
}

export interface Announcements {
  /**
   * Runs a write and keeps the change that it made (null: none) in the same transaction; then announces it. What
   * happens to the announcement does not concern the caller.
   */
  write<T>(
    traceparent: string,
    work: (tables: Tables) => Promise<{ readonly result: T; readonly change: RegistryChange | null }>,
  ): Promise<T>;
  /** Says of every line, over NATS, that it is worth a look: what changed while NATS was away was not announced. */
  announceAll(): Promise<void>;
  /** Sends the kept changes to Kafka, in order, at least once, until the signal aborts. */
  deliver(signal: AbortSignal): Promise<void>;
}

const BATCH = 100;
const RETRY_MS = 500;
const RETRY_MS_MAX = 10_000;

export function createAnnouncements(ports: {
  readonly store: Store;
  readonly broker: Broker;
  readonly announcer: AnnouncerPort;
  readonly log: Log;
}): Announcements {
  const { store, broker, announcer, log } = ports;
  const changes = meter().createCounter("millrace_registry_changes_total", {
    description: "Committed changes of what is registered or serves, by kind",
  });
  const generations = meter().createGauge("millrace_registry_generation", {
    description: "Generation of a line's aspired set",
  });
  let kept = Promise.withResolvers<void>();

  /** Resolves with how many changes were delivered, 0 when none is left. */
  const deliverSome = async (): Promise<number> => {
    const pending = await store.transaction((tables) => tables.pendingChanges(BATCH));
    const newest = pending.at(-1);
    if (newest === undefined) return 0;
    await broker.send(pending.map(toRecord));
    await store.transaction((tables) => tables.dropChanges(newest.seq));
    return pending.length;
  };

  return {
    write: async (traceparent, work) => {
      const { result, change } = await store.transaction(async (tables) => {
        const done = await work(tables);
        if (done.change !== null) await tables.addChange(done.change, traceparent);
        return done;
      });
      if (change !== null) {
        const { line, kind, version, generation } = change;
        changes.add(1, { kind });
        generations.record(generation, { line });
        announcer.publish(REGISTRY_SUBJECT, { line, generation, traceparent }, traceparent);
        log.info({ line, kind, version, generation, reason: change.reason }, "changed");
        kept.resolve();
      }
      return result;
    },

    announceAll: async () => {
      const sets = await store.transaction(async (tables) => {
        const names = (await tables.lines()).map((line) => line.name);
        return await Promise.all(names.map(async (line) => ({ line, aspired: await tables.aspired(line) })));
      });
      for (const { line, aspired } of sets) {
        const generation = aspired?.generation ?? 0;
        const traceparent = aspired?.traceparent ?? "";
        generations.record(generation, { line });
        announcer.publish(REGISTRY_SUBJECT, { line, generation, traceparent }, traceparent);
      }
    },

    deliver: async (signal) => {
      signal.addEventListener("abort", () => kept.resolve(), { once: true });
      let retryMs = RETRY_MS;
      while (!signal.aborted) {
        // Set before the store is read, so that a change kept meanwhile is not overlooked.
        kept = Promise.withResolvers();
        try {
          while ((await deliverSome()) > 0);
          if (retryMs > RETRY_MS) log.info("changes are delivered to Kafka again");
          retryMs = RETRY_MS;
          if (!signal.aborted) await kept.promise;
        } catch (error) {
          if (signal.aborted) break;
          if (retryMs === RETRY_MS) log.warn({ err: error }, "changes wait for Kafka");
          await sleep(retryMs, signal);
          retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
        }
      }
    },
  };
}

function toRecord({ change, traceparent }: PendingChange): OutputRecord {
  return {
    topic: MESH_TOPICS.changes.name,
    partition: 0,
    key: change.line,
    value: JSON.stringify(change),
    headers: traceparent === "" ? {} : { [HEADERS.traceparent]: traceparent },
  };
}
