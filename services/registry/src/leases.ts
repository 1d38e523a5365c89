import type { Clock } from "@millrace/runtime";
import { acquire, admits } from "@millrace/versions";
import { identifierOf, integerOf, lineOf, Refusal } from "./request.ts";
import type { Store, Tables } from "./store.ts";
import { leaseMessage, type RegistryHandlers } from "./wire.ts";

const TTL_MS_MAX = 60 * 60 * 1000;

/** AcquireLease: also how a holder renews. */
export function leaseHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
}): Pick<RegistryHandlers, "acquireLease"> {
  const { store, clock } = ports;
  return {
    acquireLease: async (request) => {
      const holder = identifierOf("holder", request.holder);
      const ttlMs = integerOf("ttl_ms", request.ttlMs, 1);
      if (ttlMs > TTL_MS_MAX) {
        throw new Refusal("invalidArgument", `ttl_ms is ${ttlMs}. Ask for at most ${TTL_MS_MAX} and renew`);
      }
      return await store.transaction(async (tables) => {
        const line = await lineOf(tables, request.line);
        const { outcome, lease } = acquire(await tables.lease(line.name), holder, clock.now(), ttlMs);
        if (outcome === "held") {
          throw new Refusal(
            "aborted",
            `the lease of ${line.name} is held by ${lease.holder} until ` +
              `${new Date(lease.expiresAtMs).toISOString()}. Ask again then`,
          );
        }
        await tables.putLease(line.name, lease);
        return leaseMessage(lease);
      });
    },
  };
}

/** Refuses a write of an epoch that is not the lease's: its writer lost the lease, perhaps without noticing. */
export async function requireEpoch(tables: Tables, line: string, epoch: number): Promise<void> {
  const lease = await tables.lease(line);
  if (admits(lease, epoch)) return;
  throw new Refusal(
    "failedPrecondition",
    lease === null
      ? `nobody holds the lease of ${line}. Acquire it first`
      : `epoch ${epoch} of ${line} is not the lease's, which is ${lease.epoch} (${lease.holder}). ` +
          "Acquire the lease again and begin anew",
  );
}

/** The epoch of a change that an operator makes. */
export const OPERATOR_EPOCH = 0;

/** The same for what an operator may do as well: he needs no lease, the generation that he expects guards him. */
export async function requireEpochOrOperator(tables: Tables, line: string, epoch: number): Promise<void> {
  if (epoch !== OPERATOR_EPOCH) await requireEpoch(tables, line, epoch);
}
