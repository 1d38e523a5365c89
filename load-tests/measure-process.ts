/**
 * How fast a system turns events into outputs, seen from outside, in the same way for whatever system: by the end
 * offsets of its output topic and by what /proc says of its processes.
 *
 * A measurement starts when the first outputs are in the topic, so that the start of a runtime does not count, and
 * ends with the last movement of the end offsets: the last commit marker of a system that writes in transactions, the
 * last record of one that does not. What was there at the start is not counted as done in between.
 */
import { sleep } from "@millrace/runtime";
import type { Admin, Kafka } from "kafkajs";
import { type Usage, usageOf, withDescendants } from "./process-usage.ts";

/** Processor time and memory are those of the processes and their children, not of Kafka. */
export interface ProcessFigures {
  readonly eventsPerSecond: number;
  /** From the moment half of the outputs are in the topic: warm. */
  readonly secondHalfEventsPerSecond: number;
  readonly cpuSecondsPerMillion: number;
  readonly peakRssMb: number;
}

export interface ProcessUnderTest {
  readonly kafka: Kafka;
  /** The processes of the system; their children are found. */
  readonly pids: readonly number[];
  /** Its output topic, empty before it starts. */
  readonly topic: string;
  /** How many outputs are due. */
  readonly outputs: number;
  readonly stop: AbortSignal;
}

const POLL_MS = 20;
const FIND_CHILDREN_EVERY_MS = 500;
/** All outputs are in and the offsets have been still for so long: no commit is to follow. */
const QUIET_MS = 5_000;
/** Outputs are missing and the offsets have been still for so long: they will not come. */
const STUCK_MS = 90_000;

/** The end offsets and the usage at a moment. */
interface Moment {
  readonly atMs: number;
  /** Sum over the partitions: records, and the markers of transactions. */
  readonly end: number;
  readonly usage: Usage;
}

/**
 * Watches until all outputs are there. Call it before the system writes anything. Throws when the processes end
 * before, when nothing moves for 90 s, and at `stop`.
 */
export async function measureProcess(system: ProcessUnderTest): Promise<ProcessFigures> {
  const admin = system.kafka.admin();
  await admin.connect();
  try {
    return figures(await watch(system, admin), system.outputs);
  } finally {
    await admin.disconnect();
  }
}

/** One moment for each movement of the offsets. */
async function watch({ pids, topic, outputs, stop }: ProcessUnderTest, admin: Admin): Promise<Moment[]> {
  const moments: Moment[] = [];
  let [end, movedMs] = [0, performance.now()];
  let [all, foundMs] = [pids, Number.NEGATIVE_INFINITY];
  let [usage, aliveMs] = [await usageOf(pids), performance.now()];
  while (true) {
    stop.throwIfAborted();
    const now = performance.now();
    if (now - foundMs >= FIND_CHILDREN_EVERY_MS) {
      [all, foundMs] = [await withDescendants(pids), now];
    }
    const current = await usageOf(all);
    if (current !== null) [usage, aliveMs] = [current, now];
    const newEnd = await endOffset(admin, topic);
    if (newEnd > end && usage !== null) {
      [end, movedMs] = [newEnd, performance.now()];
      moments.push({ atMs: movedMs, end, usage });
    }
    const stillMs = performance.now() - movedMs;
    if (end >= outputs && stillMs >= QUIET_MS) return moments;
    if (stillMs >= QUIET_MS && performance.now() - aliveMs >= QUIET_MS) {
      throw new Error(`the processes under test ended after ${end} of ${outputs} outputs`);
    }
    if (stillMs >= STUCK_MS)
      throw new Error(`no output for ${STUCK_MS / 1_000} s after ${end} of ${outputs}`);
    await sleep(POLL_MS, stop);
  }
}

async function endOffset(admin: Admin, topic: string): Promise<number> {
  const partitions = await admin.fetchTopicOffsets(topic);
  return partitions.reduce((sum, { high }) => sum + Number(high), 0);
}

/** `outputs` are the records among the offsets of the last moment. */
function figures(moments: readonly Moment[], outputs: number): ProcessFigures {
  const [first, last] = [moments[0], moments.at(-1)];
  const half = moments.find(({ end }) => last !== undefined && end >= last.end / 2);
  if (first === undefined || last === undefined || half === undefined) throw new RangeError("no outputs");
  const share = outputs / last.end;
  const perSecond = (from: Moment): number =>
    (share * (last.end - from.end)) / ((last.atMs - from.atMs) / 1_000);
  return {
    eventsPerSecond: perSecond(first),
    secondHalfEventsPerSecond: perSecond(half),
    cpuSecondsPerMillion:
      (last.usage.cpuSeconds - first.usage.cpuSeconds) / ((share * (last.end - first.end)) / 1e6),
    peakRssMb: last.usage.peakRssMb,
  };
}
