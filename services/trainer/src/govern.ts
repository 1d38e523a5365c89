import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Decision, type DriftReport, HEADERS, lineTopic } from "@millrace/contracts";
import { decide, firstCause, type GovernorState, type RetrainTrigger, staleCause } from "@millrace/governor";
import { currentTraceparent, every, sha256Hex, withSpan, writeFileDurably } from "@millrace/runtime";
import { fileCheckpoints, headerText, memberFile, type StreamRecord, startStep } from "@millrace/stream";
import { patiently } from "./patience.ts";
import type { Bench } from "./run.ts";
import { isInFlight, type Run } from "./run-book.ts";
import { isTrained, type Serving } from "./serving.ts";

const LOOK_MS = 1_000;
const CHECKPOINT_MS = 1_000;
const PENDING_MAX = 1_000;
const DECIDED_MAX = 1_000;
/** Between two attempts to register a baseline, wall clock: a line without one has no examples to wait for. */
const BOOTSTRAP_PAUSE_MS = 30_000;

/** Decides about the line's triggers and admits runs. */
export interface Governor {
  /** Decisions written so far. */
  decisions(): number;
  lastDecision(): Decision | null;
  lag(): number;
  stop(): Promise<void>;
}

/** A drift report about which the last word is not spoken. */
interface Pending {
  readonly report: DriftReport;
  /** Trace in which the report was made; empty when there is none. */
  readonly traceparent: string;
}

/** What the governor remembers over restarts. */
interface Memory {
  readonly pending: readonly Pending[];
  /** Last outcome by cause, the newest last: the same is not said twice. */
  readonly decided: readonly (readonly [cause: string, outcome: Decision["outcome"]])[];
  readonly decisions: number;
  readonly last: Decision | null;
}

/**
 * Consumes `LINE.drift` and looks at the line once a second. Reports are durable here before their offsets are
 * checkpointed; of several that wait, each is decided once and only the newest is decided again.
 * `onAdmitted` is called when there is a run to do.
 */
export async function startGovern(bench: Bench, onAdmitted: () => void): Promise<Governor> {
  const { line, ports, settings, signal } = bench;
  const folder = join(settings.data, line.name, "govern");
  const file = join(folder, "memory.json");
  let memory = await readMemory(file);
  const remember = async (change: Partial<Memory>): Promise<void> => {
    memory = { ...memory, ...change };
    await writeFileDurably(file, JSON.stringify(memory));
  };

  // Reports arrive while a look is under way; both change the memory, one after the other.
  let turn: Promise<void> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = turn.then(work);
    turn = done.catch(() => {}); // the caller has the error
    return done;
  };

  const step = await startStep(
    {
      name: `${line.name}.govern`,
      topics: [lineTopic(line.name, "drift")],
      outputs: [],
      member: memberFile(join(folder, "member")),
      checkpoints: fileCheckpoints(folder),
      checkpointEveryMs: CHECKPOINT_MS,
      createTask: () => ({
        process: (records) => inTurn(() => remember({ pending: withReports(memory.pending, records) })),
        snapshot: () => null,
      }),
    },
    ports,
  );

  const settle = async (
    trigger: RetrainTrigger,
    state: GovernorState,
    traceparent: string,
  ): Promise<boolean> => {
    const ruling = decide(trigger, state, line.retrain);
    const isFinal = ruling.outcome === "admitted" || ruling.outcome === "refused";
    const known = memory.decided.find(([cause]) => cause === trigger.cause)?.[1];
    if (known === ruling.outcome) return isFinal;
    // A merged report is answered when the run that it was merged into has replaced the version.
    if (known === "merged" && ruling.outcome === "refused") return true;
    const attributes = {
      "millrace.line": line.name,
      "millrace.trigger": trigger.trigger,
      "millrace.outcome": ruling.outcome,
    };
    await withSpan("decide", { traceparent, attributes }, async () => {
      const decision: Decision = {
        id: sha256Hex(`${line.name}\n${trigger.cause}\n${ruling.outcome}`).slice(0, 16),
        line: line.name,
        time: state.streamTimeMs,
        cause: trigger.cause,
        trigger: trigger.trigger,
        ...ruling,
        runId: ruling.outcome === "admitted" ? runIdOf(line.name, trigger.cause) : null,
        decidedAtMs: ports.clock.now(),
      };
      // First the ledger, then the run: after a crash in between the same decision is written again, never none.
      await bench.ledger.decide(decision);
      if (decision.runId !== null) {
        await bench.book.add({
          id: decision.runId,
          cause: trigger.cause,
          trigger: trigger.trigger,
          reason: ruling.reason,
          streamTimeMs: BigInt(Math.round(state.streamTimeMs)),
          changeTimeMs:
            trigger.trigger === "drift" ? BigInt(Math.max(0, Math.round(trigger.report.changeTime))) : 0n,
          traceparent: currentTraceparent() || traceparent,
        });
        onAdmitted();
      }
      const decided = memory.decided.filter(([cause]) => cause !== trigger.cause);
      await remember({
        decided: [...decided, [trigger.cause, ruling.outcome] as const].slice(-DECIDED_MAX),
        decisions: memory.decisions + 1,
        last: decision,
      });
      bench.metrics.decided(line.name, trigger.trigger, ruling.outcome);
      ports.log.info({ ...decision }, "decision");
    });
    return isFinal;
  };

  const look = async (): Promise<void> => {
    const serving = await patiently("read what serves", ports, signal, () => bench.serving.read());
    for (const trigger of ownTriggers(serving, bench)) {
      if (!isDone(trigger.cause, bench.book.all())) await settle(trigger, stateOf(serving, bench), "");
    }
    const waiting = memory.pending;
    if (waiting.length === 0) return;
    // A change is waited out no longer than it must be.
    if (waiting.some(({ report }) => lacksExamples(report, serving, bench))) await bench.collector.flush();
    const open: Pending[] = [];
    for (const pending of waiting) {
      const trigger: RetrainTrigger = {
        trigger: "drift",
        cause: causeOf(pending.report),
        report: pending.report,
        examplesSinceChange: bench.collector.examplesSince(pending.report.changeTime),
      };
      if (isDone(trigger.cause, bench.book.all())) continue;
      if (!(await settle(trigger, stateOf(serving, bench), pending.traceparent))) open.push(pending);
    }
    const newest = open.slice(-1);
    if (newest.length !== waiting.length) await remember({ pending: newest });
  };

  const stopped = new AbortController();
  const looking = every(
    LOOK_MS,
    AbortSignal.any([signal, stopped.signal]),
    () => inTurn(look),
    (error) => ports.log.warn({ err: error, line: line.name }, "the governor could not decide"),
  );
  let stopping: Promise<void> | undefined;
  return {
    decisions: () => memory.decisions,
    lastDecision: () => memory.last,
    lag: () => step.lag(),
    stop: () => {
      stopping ??= (async () => {
        stopped.abort();
        await step.stop();
        await looking;
      })();
      return stopping;
    },
  };
}

/** Triggers that come from the state of the line itself. */
function ownTriggers({ champion }: Serving, bench: Bench): RetrainTrigger[] {
  const { line, featureDigest, book, collector, ports } = bench;
  if (champion === null) {
    const cause = `bootstrap/${featureDigest.slice(0, 12)}`;
    const failed = book.all().filter((run) => run.cause.startsWith(`${cause}/`) && run.state === "failed");
    const lastAtMs = failed.reduce((last, run) => Math.max(last, Number(run.updatedAtMs)), 0);
    return ports.clock.now() - lastAtMs < BOOTSTRAP_PAUSE_MS
      ? []
      : [{ trigger: "bootstrap", cause: `${cause}/${failed.length + 1}` }];
  }
  if (!isTrained(champion)) {
    const cause = firstCause(collector.examples(), line.retrain) ?? `first/${line.retrain.firstAfter}`;
    return [{ trigger: "first", cause }];
  }
  const facts = { version: Number(champion.version), trainedUntilMs: Number(champion.trainedUntilMs) };
  const cause = staleCause(facts, collector.streamTimeMs(), line.retrain);
  return cause === null ? [] : [{ trigger: "stale", cause }];
}

function stateOf({ champion }: Serving, { collector, book }: Bench): GovernorState {
  return {
    streamTimeMs: collector.streamTimeMs(),
    examples: collector.examples(),
    runs: book.all().map((run) => ({
      id: run.id,
      cause: run.cause,
      trigger: run.trigger,
      inFlight: isInFlight(run),
      streamTimeMs: Number(run.streamTimeMs),
    })),
    champion:
      champion === null
        ? null
        : {
            version: Number(champion.version),
            trained: isTrained(champion),
            trainedUntilMs: Number(champion.trainedUntilMs),
          },
  };
}

/** Whether the cause has led to a run already: then it was decided, perhaps before a restart. */
function isDone(cause: string, runs: readonly Run[]): boolean {
  return runs.some((run) => run.cause === cause);
}

/** Whether a retraining waits for nothing but examples since the change. */
function lacksExamples(
  { kind, version, changeTime }: DriftReport,
  { champion }: Serving,
  bench: Bench,
): boolean {
  const { collector, line } = bench;
  if (kind !== "harm" || version !== Number(champion?.version ?? 0n)) return false;
  return collector.examplesSince(changeTime) < line.retrain.minChange;
}

/** The registry takes causes of up to 200 characters on one line; ids of events may be anything. */
function causeOf({ id }: DriftReport): string {
  return /^[^\p{Cc}]{1,200}$/u.test(id) ? id : sha256Hex(id);
}

function runIdOf(line: string, cause: string): string {
  return `r-${sha256Hex(`${line}\n${cause}`).slice(0, 12)}`;
}

/** Adds the reports of the records, each once; when there are too many the oldest are forgotten. */
function withReports(pending: readonly Pending[], records: readonly StreamRecord[]): readonly Pending[] {
  const byId = new Map(pending.map((one) => [one.report.id, one]));
  for (const record of records) {
    const report = readReport(record);
    if (report === null) continue;
    const traceparent = headerText(record, HEADERS.traceparent) ?? "";
    if (!byId.has(report.id)) byId.set(report.id, { report, traceparent });
  }
  return [...byId.values()].slice(-PENDING_MAX);
}

/** Only the feature service writes this topic, but nothing keeps a stranger from it: null for what is no report. */
function readReport({ value }: StreamRecord): DriftReport | null {
  try {
    const report = JSON.parse(Buffer.from(value ?? []).toString("utf8")) as Partial<DriftReport> | null;
    const isReport =
      typeof report?.id === "string" &&
      typeof report.changeTime === "number" &&
      typeof report.version === "number" &&
      (report.kind === "harm" || report.kind === "inputs");
    return isReport ? (report as DriftReport) : null;
  } catch {
    return null;
  }
}

async function readMemory(file: string): Promise<Memory> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return text === null
    ? { pending: [], decided: [], decisions: 0, last: null }
    : (JSON.parse(text) as Memory);
}
