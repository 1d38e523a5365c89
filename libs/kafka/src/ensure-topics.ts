import { sleep } from "@millrace/runtime";
import type { Cluster } from "./cluster.ts";
import { patiently } from "./patience.ts";
import { ConnectionError, checkCode, KafkaError } from "./wire/errors.ts";
import { createPartitions } from "./wire/messages/create-partitions.ts";
import { createTopics, type TopicResult } from "./wire/messages/create-topics.ts";

const CREATE_MS = 30_000;
const LOOK_MS = 50;
const TOPIC_ALREADY_EXISTS = 36;
/** Another process has just added them. */
const INVALID_PARTITIONS = 37;

/** Creates what is missing of the topics, adds partitions where there are fewer, and waits until all have leaders. */
export async function ensureTopics(
  cluster: Cluster,
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
      try {
        if (missing.length > 0) {
          const request = { topics: missing, partitions, timeoutMs: CREATE_MS };
          check((await cluster.controller(createTopics, request)).topics, TOPIC_ALREADY_EXISTS);
        }
        if (smaller.length > 0) {
          const request = { topics: smaller, partitions, timeoutMs: CREATE_MS };
          check((await cluster.controller(createPartitions, request)).topics, INVALID_PARTITIONS);
        }
      } catch (error) {
        if (error instanceof ConnectionError || (error instanceof KafkaError && error.remedy === "refresh")) {
          await cluster.refresh(names);
        }
        throw error;
      }
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

function check(results: readonly TopicResult[], fine: number): void {
  for (const { name, errorCode, errorMessage } of results) {
    if (errorCode !== fine) checkCode(errorCode, `creating ${name}`, errorMessage);
  }
}

const LEADER_NOT_AVAILABLE = 5;
