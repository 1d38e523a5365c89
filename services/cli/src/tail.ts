import type { Decision, DriftReport, Progress, RegistryChange } from "@millrace/contracts";
import { lineTopic, lineTopics, MESH_TOPICS } from "@millrace/contracts";
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

/** Reads drift reports, decisions, progress and registry changes of a line from their beginning, and goes on. */
export async function tailLine(
  broker: Broker,
  line: { readonly name: string; readonly partitions: number },
  group: string,
  onFailed: (error: unknown) => void,
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
  // The group commits nothing; without this a new assignment would read everything again.
  const next = new Map<string, number | null>();
  const consumption = await broker.consume({
    group,
    topics: [drift, ...Object.values(MESH_TOPICS).map(({ name }) => name)],
    onAssigned: async () => next,
    onRevoked: async () => {},
    onBatch: async (batch) => {
      const position = partitionKey(batch.topic, batch.partition);
      for (const record of batch.records) {
        if (record.offset < (next.get(position) ?? 0)) continue;
        take(record);
        next.set(position, record.offset + 1);
      }
    },
    onFailed,
  });
  return { reports, decisions, progress, changes, stop: () => consumption.stop() };
}
