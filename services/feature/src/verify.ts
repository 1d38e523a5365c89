import { eventsToReplay, isReproduced, type Verification, verifySpan } from "@millrace/archive";
import { eventLog, type LineDefinition } from "@millrace/lines";
import { every, meter } from "@millrace/runtime";
import type { Block, RunningStep } from "@millrace/stream";
import type { FeaturePorts } from "./service.ts";

/** Whether what was served can be computed again; looked at from time to time. */
export interface Verifying {
  /** The last look at each partition. */
  results(): readonly VerifiedPartition[];
  stop(): Promise<void>;
}

export interface VerifiedPartition extends Verification {
  readonly verifiedAtMs: number;
}

/** Events of a block whose vectors are computed again. */
const SAMPLE_EVENTS = 2_000;
/** More events than these are not replayed beside the stream: they would keep the processor for minutes. */
const REPLAYED_EVENTS_MAX = 2_000_000;

/**
 * Verifies a sample of what was served, of the newest archived block of one partition after the other. A difference is
 * an alert: an error in the log, the counter `millrace_feature_differences_total`, and the status.
 */
export function startVerifying(
  line: LineDefinition,
  featureDigest: string,
  compute: RunningStep,
  ports: FeaturePorts,
): Verifying {
  const { blocks, clock, log, verifyEveryMs } = ports;
  const stopped = new AbortController();
  const results = new Map<number, VerifiedPartition>();
  const seen = new Map<number, string>();
  const differences = meter().createCounter("millrace_feature_differences_total", {
    description: "Vectors that were served otherwise than a replay of the archive computes them",
  });
  const { topic } = eventLog(line);

  const look = async (): Promise<void> => {
    const archived = await blocks(topic);
    for (const partition of compute.partitions()) {
      const ours = archived.filter((block) => block.partition === partition);
      const newest = ours.reduce<Block | null>(
        (last, block) => (last === null || block.nextOffset > last.nextOffset ? block : last),
        null,
      );
      if (newest === null || seen.get(partition) === newest.digest) continue;
      seen.set(partition, newest.digest);
      const span = {
        from: Math.max(newest.firstOffset, newest.nextOffset - SAMPLE_EVENTS),
        until: newest.nextOffset,
      };
      const events = eventsToReplay(line, span, ours);
      if (events > REPLAYED_EVENTS_MAX) {
        log.warn(
          { line: line.name, partition, events },
          "the features reach back too far to verify beside the stream: run `millrace features verify`",
        );
        continue;
      }
      const result = await verifySpan(line, featureDigest, partition, span, ours, ports, stopped.signal);
      results.set(partition, { ...result, verifiedAtMs: clock.now() });
      if (isReproduced(result)) continue;
      differences.add(result.differing + result.missing + result.surplus, { line: line.name });
      log.error({ line: line.name, ...result }, "what was served cannot be computed again");
    }
  };

  const looking = every(verifyEveryMs, stopped.signal, look, (error) => {
    if (!stopped.signal.aborted) log.warn({ err: error, line: line.name }, "cannot verify what was served");
  });
  return {
    results: () => [...results.values()],
    stop: async () => {
      stopped.abort();
      await looking;
    },
  };
}
