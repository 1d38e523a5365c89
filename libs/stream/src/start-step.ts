import { every, meter, withDeadline } from "@millrace/runtime";
import type { Consumption } from "./broker.ts";
import { passingMember } from "./member-memory.ts";
import { Saves } from "./saves.ts";
import { StallError, StallWatch } from "./stall-watch.ts";
import type { RunningStep, StepDefinition, StepPorts } from "./step.ts";
import { groupName, TaskRunner } from "./task-runner.ts";

const WATCH_MS = 5_000;
/** How long the client may take to leave the group. */
const LEAVE_MS = 30_000;

/**
 * Runs a step: joins its consumer group, runs a task for each partition number while it is assigned, and keeps it
 * going until `stop`. A failure goes to `ports.fail`. Resolves when the group is joined or being joined.
 */
export async function startStep(definition: StepDefinition, ports: StepPorts): Promise<RunningStep> {
  const { name, topics, member = passingMember() } = definition;
  const { broker, clock, log, fail } = ports;
  const runners = new Map<number, TaskRunner>();
  const stopped = new AbortController();
  const saves = new Saves(
    definition,
    clock,
    () => runners.size,
    () => {
      for (const runner of runners.values()) runner.ring();
    },
  );
  const fenced = meter().createCounter("millrace_partitions_fenced_total", {
    description: "Partitions that another owner took over before the group had said so",
  });
  const stalls = meter().createCounter("millrace_consumer_stalls_total", {
    description: "Times that a step's consumption was started anew because nothing arrived",
  });

  const revoke = async (partition: number): Promise<void> => {
    const runner = runners.get(partition);
    runners.delete(partition);
    await runner?.stop();
  };
  const revokeAll = async (): Promise<void> => {
    await Promise.all([...runners.keys()].map(revoke));
  };

  const consume = (): Promise<Consumption> =>
    broker.consume({
      group: groupName(name),
      topics,
      member,
      onAssigned: async (partition) => {
        await revoke(partition);
        if (stopped.signal.aborted) return new Map();
        const runner = new TaskRunner(partition, definition, ports, { saves, fenced });
        runners.set(partition, runner);
        const positions = await runner.start();
        log.info({ step: name, partition, positions: Object.fromEntries(positions) }, "partition assigned");
        return positions;
      },
      onRevoked: revoke,
      onBatch: async (batch) => runners.get(batch.partition)?.offer(batch),
      onFailed: fail,
    });
  let consumption = await consume();

  const stallWatch = new StallWatch();
  const watch = async (): Promise<void> => {
    for (const topic of topics) {
      for (const { partition, end } of await broker.offsets(topic))
        runners.get(partition)?.noteEnd(topic, end);
    }
    const stall = stallWatch.look(runners);
    if (stall === null) return;
    const error = new StallError(name, stall.partition, stall.stalledMs);
    if (stall.again) return fail(error);
    log.error({ err: error }, "the consumption is started anew");
    stalls.add(1, { step: name });
    await withDeadline(LEAVE_MS, `stopping the consumption of ${name}`, consumption.stop());
    await revokeAll();
    if (!stopped.signal.aborted) consumption = await consume();
  };
  const watching = every(WATCH_MS, stopped.signal, watch, (error) =>
    log.warn({ err: error, step: name }, "cannot look after the step's progress"),
  );

  let stopping: Promise<void> | undefined;
  return {
    lag: () => [...runners.values()].reduce((sum, runner) => sum + runner.lag(), 0),
    partitions: () => [...runners.keys()],
    stop: () => {
      stopping ??= (async () => {
        stopped.abort();
        await revokeAll();
        await watching;
        await consumption.stop();
      })();
      return stopping;
    },
  };
}
