import { sleep } from "@millrace/runtime";
import type { Administration } from "./administration.ts";
import type { Cluster } from "./cluster.ts";
import { patiently } from "./patience.ts";
import { KafkaError } from "./wire/errors.ts";

const LOOK_MS = 50;
const LEADER_NOT_AVAILABLE = 5;

/** Creates what is missing of the topics, adds partitions where there are fewer, and waits until all have leaders. */
export async function ensureTopics(
  cluster: Cluster,
  administration: Administration,
  topics: readonly { readonly name: string; readonly config: Readonly<Record<string, string>> }[],
  partitions: number,
): Promise<void> {
  const names = topics.map((topic) => topic.name);
  const count = (name: string): number => cluster.topic(name)?.leaders.length ?? 0;
  await patiently(
    `creating ${names.join(", ")}`,
    async () => {
      await cluster.refresh(names);
      const missing = topics.filter(({ name }) => count(name) === 0);
      const smaller = names.filter((name) => count(name) > 0 && count(name) < partitions);
      if (missing.length > 0) await administration.createTopics(missing, partitions);
      if (smaller.length > 0) await administration.addPartitions(smaller, partitions);
      await untilLed(cluster, names, partitions);
    },
    { patienceMs: cluster.patienceMs },
  );
}

/** Waits until every partition has a leader; an election that takes long is a retriable error. */
async function untilLed(cluster: Cluster, names: readonly string[], partitions: number): Promise<void> {
  const led = (name: string): boolean => {
    const leaders = cluster.topic(name)?.leaders ?? [];
    return leaders.length >= partitions && leaders.every((leader) => leader >= 0);
  };
  for (let tries = 0; tries < 40; tries++) {
    await cluster.refresh(names);
    if (names.every(led)) return;
    await sleep(LOOK_MS);
  }
  throw new KafkaError(LEADER_NOT_AVAILABLE, `creating ${names.filter((name) => !led(name)).join(", ")}`);
}
