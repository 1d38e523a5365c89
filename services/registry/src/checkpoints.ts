import type { registryApi as api } from "@millrace/contracts";
import type { Clock } from "@millrace/runtime";
import { digestOf, integerOf, lineOf, nameOf, present, Refusal, textOf } from "./request.ts";
import type { CheckpointRow, Store } from "./store.ts";
import { checkpointMessage, type RegistryHandlers } from "./wire.ts";

/** Kept per partition: the newest, and what a reader falls back to when its objects are damaged. */
const KEPT = 3;

/**
 * AcquireCheckpoints, PutCheckpoint and ListCheckpoints. A partition of a step has one owner at a time: whoever
 * acquired it last. What an earlier owner saves is refused, because it is older than what it would replace.
 */
export function checkpointHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
}): Pick<RegistryHandlers, "acquireCheckpoints" | "putCheckpoint" | "listCheckpoints"> {
  const { store, clock } = ports;
  return {
    acquireCheckpoints: async (request) => {
      const step = nameOf("step", request.step);
      const partition = integerOf("partition", request.partition, 0);
      return await store.transaction(async (tables) => {
        const line = (await lineOf(tables, request.line)).name;
        const epoch = (await tables.checkpointEpoch(line, step, partition)) + 1;
        await tables.putCheckpointEpoch(line, step, partition, epoch);
        const checkpoints = await tables.checkpointsOf(line, step, partition);
        return { epoch: BigInt(epoch), checkpoints: checkpoints.map(checkpointMessage) };
      });
    },

    putCheckpoint: async (request) => {
      const checkpoint = checkpointOf(present("checkpoint", request.checkpoint), clock.now());
      const { line, step, partition, epoch, manifestDigest } = checkpoint;
      return await store.transaction(async (tables) => {
        await lineOf(tables, line);
        const current = await tables.checkpointEpoch(line, step, partition);
        if (epoch !== current) {
          throw new Refusal(
            "failedPrecondition",
            `epoch ${epoch} of ${step}/${partition} is not its owner's, which is ${current}. ` +
              "Somebody else has taken the partition over: acquire it again",
          );
        }
        const [newest] = await tables.checkpointsOf(line, step, partition);
        const isNew = newest?.epoch !== epoch || newest.manifestDigest !== manifestDigest;
        if (isNew) await tables.addCheckpoint(checkpoint);
        const dropped = isNew ? await tables.dropCheckpoints(line, step, partition, KEPT) : [];
        const kept = await tables.checkpointsOf(line, step, partition);
        return { keptManifestDigests: kept.map(manifestOf), droppedManifestDigests: dropped.map(manifestOf) };
      });
    },

    listCheckpoints: async (request) =>
      await store.transaction(async (tables) => {
        const line = (await lineOf(tables, request.line)).name;
        return { checkpoints: (await tables.checkpoints(line)).map(checkpointMessage) };
      }),
  };
}

const manifestOf = ({ manifestDigest }: CheckpointRow): string => manifestDigest;

function checkpointOf(checkpoint: api.Checkpoint, savedAtMs: number): CheckpointRow {
  return {
    line: nameOf("line", checkpoint.line),
    step: nameOf("step", checkpoint.step),
    partition: integerOf("partition", checkpoint.partition, 0),
    manifestDigest: digestOf("manifest_digest", checkpoint.manifestDigest),
    bytes: integerOf("bytes", checkpoint.bytes, 0),
    version: textOf("version", checkpoint.version),
    offsets: Object.fromEntries(
      Object.entries(checkpoint.offsets).map(([topic, offset]) => [topic, integerOf("offsets", offset, 0)]),
    ),
    epoch: integerOf("epoch", checkpoint.epoch, 1),
    savedAtMs,
  };
}
