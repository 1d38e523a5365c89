import type { ServiceStatus } from "@millrace/contracts";
import { type MeshAddress, SERVICES, type ServiceName } from "./mesh.ts";

export type Statuses = Readonly<Record<ServiceName, ServiceStatus | null>>;

const ANSWER_MS = 1_500;

/** What each service says of itself; null: it does not answer. */
export async function readStatuses(address: MeshAddress): Promise<Statuses> {
  const entries = await Promise.all(
    SERVICES.map(async (name) => [name, await readStatus(address.ops[name])] as const),
  );
  return Object.fromEntries(entries) as Statuses;
}

async function readStatus(url: string): Promise<ServiceStatus | null> {
  try {
    const response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return response.ok ? ((await response.json()) as ServiceStatus) : null;
  } catch {
    return null;
  }
}

/** Records still to be read of a line, by `service/step`. */
export function lagOf(statuses: Statuses, line: string): Record<string, number> {
  return Object.fromEntries(
    SERVICES.flatMap((service) =>
      Object.entries(statuses[service]?.lines[line]?.lag ?? {}).map(
        ([step, records]) => [`${service}/${step}`, records] as const,
      ),
    ),
  );
}

/** Whether the service does its work (`/readyz`). */
export async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return response.ok;
  } catch {
    return false;
  }
}
