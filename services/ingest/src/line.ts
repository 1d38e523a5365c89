import { join } from "node:path";
import { type LineStatus, lineTopics, sourceTopic } from "@millrace/contracts";
import type { LineDefinition } from "@millrace/lines";
import { every } from "@millrace/runtime";
import {
  type AppliedLine,
  type Broker,
  fileCheckpoints,
  memberFile,
  type RunningArchive,
  type RunningStep,
  startArchive,
  startStep,
} from "@millrace/stream";
import { createAcceptStep } from "./accept.ts";
import { archiveDefinition } from "./archive.ts";
import type { IngestMetrics } from "./metrics.ts";
import { streamsWithSchemas } from "./outside.ts";
import type { IngestPorts } from "./service.ts";

/** The steps of one line, from its definition's arrival to its end. */
export interface RunningLine {
  /** Whether the first attempt to start is over: the steps run, or the status says why not. */
  settled(): boolean;
  status(): LineStatus;
  stop(): Promise<void>;
}

type State =
  | { readonly kind: "preparing" }
  /** The line cannot run as it is; looked at again every few seconds. */
  | { readonly kind: "refused"; readonly problem: string }
  | { readonly kind: "running"; readonly accept: RunningStep; readonly archive: RunningArchive };

const RETRY_MS = 5_000;

/**
 * Takes up a line: makes the topics that are missing, checks their partitions, then starts accept and archive. What
 * hinders the start stands in the status, and is tried again until it works.
 */
export function takeUpLine(
  { line, digest }: AppliedLine,
  folder: string,
  metrics: IngestMetrics,
  ports: IngestPorts,
): RunningLine {
  const own = join(folder, line.name);
  const accept = createAcceptStep(line, fileCheckpoints(join(own, "accept")), metrics, {
    outside: ports,
    clock: ports.clock,
  });
  const accepting = { ...accept.definition, member: memberFile(join(own, "accept", "member")) };
  const archiving = {
    ...archiveDefinition(line, { ...ports, scratch: folder }),
    member: memberFile(join(own, "archive", "member")),
  };
  let state: State = { kind: "preparing" };

  const refuse = (problem: string): void => {
    if (state.kind !== "refused" || state.problem !== problem) {
      ports.log.error({ line: line.name, problem }, "line refused");
    }
    state = { kind: "refused", problem };
  };

  const starting = new AbortController();
  const started = every(
    RETRY_MS,
    starting.signal,
    async () => {
      const problem = lacksSchemas(line, ports) ?? (await prepareTopics(line, ports.broker));
      if (problem !== null) return refuse(problem);
      const running = await startStep(accepting, ports);
      try {
        const archive = await startArchive(archiving, { ...ports, scratch: folder });
        state = { kind: "running", accept: running, archive };
        starting.abort();
      } catch (error) {
        await running.stop();
        throw error;
      }
    },
    (error) => refuse((error as Error).message),
  );

  return {
    settled: () => state.kind !== "preparing",
    status: () => {
      const progress = accept.progress(state.kind === "running" ? state.accept.partitions() : []);
      const { counts, streamTimeMs, watermarks, idlePartitions, waitsFor } = progress;
      const marks = Object.values(watermarks).filter((mark) => mark !== null);
      return {
        counts,
        lag: state.kind === "running" ? { accept: state.accept.lag(), archive: state.archive.lag() } : {},
        streamTimeMs,
        details: {
          digest,
          state: state.kind,
          ...(state.kind === "refused" ? { problem: state.problem } : {}),
          ...(state.kind === "running" ? { archived: state.archive.written() } : {}),
          watermarkMs: marks.length === 0 ? null : Math.min(...marks),
          watermarks,
          idlePartitions,
          ...(waitsFor === null ? {} : { waitsFor }),
        },
      };
    },
    stop: async () => {
      starting.abort();
      await started;
      if (state.kind !== "running") return;
      await state.accept.stop();
      await state.archive.stop();
    },
  };
}

/** What a line with a schema registry's schemas lacks where none is set; null: nothing. */
function lacksSchemas(line: LineDefinition, { schemas }: IngestPorts): string | null {
  const [stream] = schemas === null ? streamsWithSchemas(line) : [];
  return stream === undefined
    ? null
    : `stream "${stream}" of line "${line.name}" has the format schema-registry, and no registry is set: ` +
        "set MILLRACE_SCHEMA_REGISTRY_URL for ingest";
}

/** Makes what is missing. Answers what is wrong with the topics' partitions; null: nothing. */
async function prepareTopics(line: LineDefinition, broker: Broker): Promise<string | null> {
  const sources = Object.values(line.streams).map(({ topic }) => sourceTopic(topic));
  const topics = [...sources, ...lineTopics(line.name)];
  await broker.ensureTopics(topics, line.partitions);
  for (const { name } of topics) {
    const found = (await broker.offsets(name)).length;
    if (found !== line.partitions) {
      return (
        `topic "${name}" has ${found} partitions and line "${line.name}" ${line.partitions}: ` +
        `set partitions of the line to ${found}, or make the topic anew with ${line.partitions}`
      );
    }
  }
  return null;
}
