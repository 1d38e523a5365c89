import { every } from "@millrace/runtime";
import { partitionKey, type TopicPartition } from "./broker.ts";
import type { RunningStep, StepDefinition, StepPorts } from "./step.ts";
import { groupName, TaskRunner } from "./task-runner.ts";

const WATCH_MS = 5_000;
const STALL_MS = 60_000;

/** Records can be read but none arrive: the client has stalled silently. */
export class StallError extends Error {
  constructor(step: string, partition: number, stalledMs: number) {
    super(
      `step ${step} has read nothing of partition ${partition} for ${stalledMs} ms although there is more`,
    );
    this.name = "StallError";
  }
}

/**
 * Runs a step: joins its consumer group, makes a task for each partition number assigned, and keeps it going
 * until `stop`. A failure goes to `ports.fail`. Resolves when the group is joined or being joined.
 */
export async function startStep(definition: StepDefinition, ports: StepPorts): Promise<RunningStep> {
  const producer = await ports.broker.producer();
  const runners = new Map<number, TaskRunner>();
  const stopped = new AbortController();

  const revoke = async (): Promise<void> => {
    const ending = [...runners.values()];
    runners.clear();
    await Promise.all(ending.map((runner) => runner.stop()));
  };

  const assign = async (assigned: readonly TopicPartition[]): Promise<Map<string, number | null>> => {
    await revoke();
    const positions = new Map<string, number | null>();
    for (const [partition, group] of Map.groupBy(assigned, (one) => one.partition)) {
      const checkpoint = await definition.checkpoints.load(partition);
      const topics = group.map((one) => one.topic);
      const runner = new TaskRunner(partition, definition, ports, producer, topics, checkpoint);
      runners.set(partition, runner);
      for (const topic of topics)
        positions.set(partitionKey(topic, partition), checkpoint?.offsets[topic] ?? null);
      runner.start();
    }
    ports.log.info({ step: definition.name, partitions: [...runners.keys()] }, "partitions assigned");
    return positions;
  };

  const consumption = await ports.broker.consume({
    group: groupName(definition.name),
    topics: definition.topics,
    onAssigned: assign,
    onRevoked: revoke,
    onBatch: async (batch) => runners.get(batch.partition)?.offer(batch),
    onFailed: ports.fail,
  });

  const watching = every(
    WATCH_MS,
    stopped.signal,
    async () => {
      for (const topic of definition.topics) {
        for (const { partition, end } of await ports.broker.offsets(topic))
          runners.get(partition)?.noteEnd(topic, end);
      }
      for (const runner of runners.values()) {
        const stalledMs = runner.stalledMs();
        if (stalledMs > STALL_MS) ports.fail(new StallError(definition.name, runner.partition, stalledMs));
      }
    },
    (error) => ports.log.warn({ err: error, step: definition.name }, "cannot read the topics' ends"),
  );

  let stopping: Promise<void> | undefined;
  return {
    lag: () => [...runners.values()].reduce((sum, runner) => sum + runner.lag(), 0),
    partitions: () => [...runners.keys()],
    stop: () => {
      stopping ??= (async () => {
        stopped.abort();
        await revoke();
        await consumption.stop();
        await producer.stop();
        await watching;
      })();
      return stopping;
    },
  };
}
