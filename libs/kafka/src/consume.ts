import type { ConsumeOptions, Consumption } from "@millrace/stream";
import type { Cluster, Topic } from "./cluster.ts";
import { Fetcher } from "./fetcher.ts";
import { GroupMember, type GroupMemberPorts } from "./group-member.ts";
import { Holdings } from "./holdings.ts";
import { patiently } from "./patience.ts";
import { Position } from "./position.ts";

/** Joins a consumer group and delivers batches until stopped. See `ConsumeOptions` for the order of the callbacks. */
export function consume(ports: GroupMemberPorts, options: ConsumeOptions): Consumption {
  const { cluster, settings } = ports;
  const { group, topics, onFailed } = options;
  const fetcher = new Fetcher(cluster, settings.log, options.onBatch, onFailed);
  const endings = new Map<number, (() => void)[]>();
  const stopping = new AbortController();
  const { signal } = stopping;
  const { patienceMs } = cluster;

  const take = async (partition: number): Promise<void> => {
    if (signal.aborted) return;
    const positions = await options.onAssigned(partition);
    const ends: (() => void)[] = [];
    for (const name of topics) {
      const look = (): Promise<Topic> => cluster.lookUp(name);
      let topic = await patiently(`topic ${name}`, look, { patienceMs, signal });
      // The member that assigns partitions is the first to hear of new ones.
      if (partition >= topic.leaders.length) {
        await cluster.refresh([name]).catch(() => {});
        topic = await patiently(`topic ${name}`, look, { patienceMs, signal });
      }
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
  const member = new GroupMember(ports, {
    group,
    topics,
    memory: options.member,
    holds: () => holdings.list(),
    onGiven: (partitions) => holdings.give(partitions),
    onFailed: fail,
  });
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
  const [first] = await cluster.offsets({ at: "first", partitions: [{ topic, partition }] });
  return first as number;
}
