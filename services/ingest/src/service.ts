import { mkdir } from "node:fs/promises";
import type { SchemaReader } from "@millrace/events";
import { isServedOnly } from "@millrace/lines";
import type { Clock, Fail, Log, ObjectStore, Service } from "@millrace/runtime";
import {
  type ArchivePorts,
  type BlockIndex,
  type Broker,
  type FollowedLines,
  followLines,
  type LineSource,
} from "@millrace/stream";
import type { ArchiveMemory } from "./archive.ts";
import type { IngestConfig } from "./config.ts";
import { type RunningLine, takeUpLine } from "./line.ts";
import { createIngestMetrics } from "./metrics.ts";

export interface IngestPorts {
  readonly broker: Broker;
  readonly lines: LineSource;
  readonly index: BlockIndex;
  readonly objects: ObjectStore;
  /** The blocks of accepted events, for lines whose event log is the producer's topic. */
  readonly blocks: ArchiveMemory["blocks"];
  readonly readRows: ArchiveMemory["readRows"];
  readonly writeParquet: ArchivePorts["writeParquet"];
  /** null: no schema registry is set. */
  readonly schemas: SchemaReader | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly fail: Fail;
  /** Closes the connections behind the ports. */
  readonly close: () => Promise<void>;
}

/** Ingest: accepts what producers send to the topics of every applied line that has streams, and archives it. */
export function buildIngest(config: Pick<IngestConfig, "MILLRACE_DATA">, ports: IngestPorts): Service {
  const metrics = createIngestMetrics();
  let followed: FollowedLines<RunningLine> | undefined;
  const lines = (): [string, RunningLine][] => [...(followed?.running() ?? [])];

  return {
    start: async (signal) => {
      await mkdir(config.MILLRACE_DATA, { recursive: true });
      followed = followLines(
        ports.lines,
        async (applied, former) => {
          await former?.stop();
          if (isServedOnly(applied.line)) return null;
          return takeUpLine(applied, config.MILLRACE_DATA, metrics, ports);
        },
        ports.log,
      );
      // The archive waits for the store by itself: accepting need not.
      void ports.objects.ensureBucket(signal).catch((error: unknown) => {
        if (!signal.aborted) ports.fail(error);
      });
    },
    stop: async () => {
      await followed?.stop();
      await ports.close();
    },
    ready: () => followed?.ready() === true && lines().every(([, line]) => line.settled()),
    lines: () => Object.fromEntries(lines().map(([name, line]) => [name, line.status()])),
  };
}

/** The step itself, for simulations that run it on fakes. */
export { createAcceptStep } from "./accept.ts";
