import type { Log } from "@millrace/runtime";
import type { ConsumeOptions, Consumption } from "@millrace/stream";
import type { Cluster } from "./cluster.ts";
import { Fetcher } from "./fetcher.ts";
import { GroupMember } from "./group-member.ts";
import { Holdings } from "./holdings.ts";
import { patiently } from "./patience.ts";
import { Position } from "./position.ts";

/** Joins a consumer group and delivers batches until stopped. See `ConsumeOptions` for the order of the callbacks. */
export function consume(cluster: Cluster, options: ConsumeOptions, log: Log): Consumption {
  const { group, topics, onFailed } = options;
  const fetcher = new Fetcher(cluster, log, options.onBatch, onFailed);
  const endings = new Map<number, (() => void)[]>();
  const stopping = new AbortController();
  const { signal } = stopping;
  const { patienceMs } = cluster;

  const take = async (partition: number): Promise<void> => {
    if (signal.aborted) return;
    const positions = await options.onAssigned(partition);
    const ends: (() => void)[] = [];
    for (const name of topics) {
      const topic = await patiently(`topic ${name}`, () => cluster.lookUp(name), { patienceMs, signal });
      if (partition >= topic.leaders.length) continue;
      const offset = positions.get(name) ?? (await firstOffset(cluster, name, partition));
      ends.push(fetcher.add(new Position(topic, partition, offset)));
    }
    endings.set(partition, ends);
  };

  const letGo = async (partition: number): Promise<void> => {
    for (const end of endings.get(partition) ?? []) end();
    endings.delete(partition);
    await options.onRevoked(partition);
  };

  const fail = (error: unknown): void => {
    if (!signal.aborted) onFailed(error);
  };
  const holdings: Holdings = new Holdings({
    take,
    letGo,
    onReleased: () => member.released(),
    onFailed: fail,
  });
  const member = new GroupMember(
    cluster,
    {
      group,
      topics,
      memory: options.member,
      holds: () => holdings.list(),
      onGiven: (partitions) => holdings.give(partitions),
      onFailed: fail,
    },
    log,
  );
  let stopped: Promise<void> | undefined;
  return {
    stop: () => {
      stopping.abort();
      fetcher.stop();
      stopped ??= member.stop();
      return stopped;
    },
  };
}

async function firstOffset(cluster: Cluster, topic: string, partition: number): Promise<number> {
  const [first] = await cluster.offsets({
    at: "first",
    isolation: "uncommitted",
    partitions: [{ topic, partition }],
  });
  return first as number;
}
