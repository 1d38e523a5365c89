import type { Broker } from "./broker.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { Outputs } from "./outputs.ts";
import type { StepDefinition } from "./step.ts";
import { highestPositions, type Tail } from "./tail.ts";

/** A partition in this process's hands, before its task begins. */
export interface TakenOver {
  readonly checkpoint: Checkpoint | null;
  readonly outputs: Outputs;
}

/**
 * Takes a partition over from whoever had it. The order is what S1 rests on: first the writer is opened, which ends
 * the power of every former one; then the checkpoint is loaded, and only then is read what stands in the output
 * partitions, because until the fence a former owner could still write behind what was read.
 */
export async function takeOver(
  partition: number,
  definition: StepDefinition,
  broker: Broker,
  signal: AbortSignal,
  onSent: () => void,
): Promise<TakenOver> {
  const { name, topics, outputs, checkpoints, version = null } = definition;
  const writer = outputs.length === 0 ? null : await broker.writer(name, partition, outputs);
  try {
    signal.throwIfAborted();
    const checkpoint = await checkpoints.load(partition, version, signal);
    const tails = new Map<string, Tail>();
    for (const [topic, end] of writer?.ends ?? []) {
      signal.throwIfAborted();
      const from = await tailStart(broker, topic, partition, checkpoint);
      tails.set(topic, {
        from,
        highest: await highestPositions(broker, topic, partition, { from, end }, topics),
      });
    }
    const taken = new Outputs(definition, partition, writer, tails, onSent);
    if (checkpoint !== null) taken.release(checkpoint.held);
    return { checkpoint, outputs: taken };
  } catch (error) {
    await writer?.stop();
    throw error;
  }
}

/** Where outputs can stand that the checkpoint does not know of; without one, where the topic begins. */
async function tailStart(
  broker: Broker,
  topic: string,
  partition: number,
  checkpoint: Checkpoint | null,
): Promise<number> {
  const first = (await broker.offsets(topic)).find((one) => one.partition === partition)?.first ?? 0;
  return Math.max(first, checkpoint?.ends[topic] ?? 0);
}
