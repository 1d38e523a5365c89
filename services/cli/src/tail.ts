import type { Decision, DriftReport, Progress, RegistryChange } from "@millrace/contracts";
import { lineTopic, lineTopics, MESH_TOPICS } from "@millrace/contracts";
import { every } from "@millrace/runtime";
import { type Broker, partitionKey, type StreamRecord } from "@millrace/stream";

/** What the mesh has written down about a line, oldest first; grows while the tail runs. */
export interface Tail {
  readonly reports: { readonly report: DriftReport; readonly atMs: number }[];
  readonly decisions: Decision[];
  readonly progress: Progress[];
  readonly changes: RegistryChange[];
  stop(): Promise<void>;
}

/** Progress of old runs is of no use to anyone who watches. */
const PROGRESS_MAX = 2_000;

const LOOK_MS = 250;

/**
 * Reads drift reports, decisions, progress and registry changes of a line from their beginning, and goes on looking for
 * more. What cannot be read goes to `onProblem`, and is tried again.
 */
export async function tailLine(
  broker: Broker,
  line: { readonly name: string; readonly partitions: number },
  onProblem: (error: unknown) => void,
): Promise<Tail> {
  const drift = lineTopic(line.name, "drift");
  await broker.ensureTopics(Object.values(MESH_TOPICS), 1);
  await broker.ensureTopics(
    lineTopics(line.name).filter(({ name }) => name === drift),
    line.partitions,
  );
  const reports: Tail["reports"] = [];
  const decisions: Decision[] = [];
  const progress: Progress[] = [];
  const changes: RegistryChange[] = [];
  const take = (record: StreamRecord): void => {
    if (record.value === null) return;
    const value = JSON.parse(Buffer.from(record.value).toString("utf8")) as { line: string };
    if (value.line !== line.name) return;
    if (record.topic === drift) reports.push({ report: value as DriftReport, atMs: record.timestampMs });
    else if (record.topic === MESH_TOPICS.decisions.name) decisions.push(value as Decision);
    else if (record.topic === MESH_TOPICS.progress.name) progress.push(value as Progress);
    else changes.push(value as RegistryChange);
    if (progress.length > PROGRESS_MAX) progress.splice(0, progress.length - PROGRESS_MAX);
  };
  const next = new Map<string, number>();
  const look = async (): Promise<void> => {
    for (const topic of [drift, ...Object.values(MESH_TOPICS).map(({ name }) => name)]) {
      for (const { partition, first, end } of await broker.offsets(topic)) {
        const position = partitionKey(topic, partition);
        for await (const records of broker.read(topic, partition, next.get(position) ?? first, end)) {
          for (const record of records) {
            take(record);
            next.set(position, record.offset + 1);
          }
        }
        next.set(position, end);
      }
    }
  };
  await look();
  const stopped = new AbortController();
  const looking = every(LOOK_MS, stopped.signal, look, onProblem);
  return {
    reports,
    decisions,
    progress,
    changes,
    stop: async () => {
      stopped.abort();
      await looking;
    },
  };
}
