import { canonicalJson, type registryApi } from "@millrace/contracts";
import { checkLine, featurePart, isLearning } from "@millrace/lines";
import { type Clock, every, type Log, type Meter, sha256Hex, sleep, withSpan } from "@millrace/runtime";
import {
  type Artifacts,
  type AspiredSet,
  type Loader,
  SwapController,
  type SwapOutcome,
  type SwapStages,
} from "@millrace/serving";
import type { LastGood } from "./last-good.ts";

/** An aspired set as the registry has it, in plain numbers. */
export interface AspiredRecord extends AspiredSet {
  readonly changedAtMs: number;
  /** W3C traceparent of the loop that asks for it; empty when there is none. */
  readonly traceparent: string;
}

/** What the registry says, and when to ask it again. */
export interface AspiredSource {
  lines(): Promise<readonly Pick<registryApi.Line, "name" | "digest" | "definitionJson">[]>;
  sets(): Promise<readonly registryApi.AspiredSet[]>;
  /** Calls `look` when something may have changed. Announcements may be lost: the source is polled as well. */
  onChange(look: () => void): () => void;
}

/** The models of one line in this node. */
export interface ServedLine {
  readonly name: string;
  readonly controller: SwapController;
  /** Digest of the present feature definition; null until the registry has answered. */
  featureDigest: string | null;
  /** The swap that serves now, and when it began to. */
  lastSwap: { readonly version: number | null; readonly ms: SwapStages; readonly atMs: number } | null;
}

export interface SwapPorts {
  readonly source: AspiredSource;
  readonly artifacts: Artifacts;
  readonly loadModel: Loader;
  readonly lastGood: LastGood;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
}

export interface Swapping {
  /** Whether the registry has been asked at least once, with or without an answer. */
  asked(): boolean;
  /** Stops following; the models serve on. */
  stop(): Promise<void>;
  /** Releases all models once nobody uses them. */
  release(): Promise<void>;
}

const POLL_MS = 2_000;
const ARTIFACT_BYTES_MAX = 1024 * 1024 * 1024;
const SWAP_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Serves what the registry wants served: first the sets that served last, from this node's disk, then whatever the
 * registry says, on each announcement and every two seconds. `onLine` is called once for each line.
 */
export async function startSwapping(ports: SwapPorts, onLine: (line: ServedLine) => void): Promise<Swapping> {
  const { source, artifacts, lastGood, log } = ports;
  const stopped = new AbortController();
  const lines = new Map<string, ServedLine>();
  const swapSeconds = ports.meter.createHistogram("millrace_swap_seconds", {
    description: "From the arrival of an aspired set to its champion serving and the old models released",
    advice: { explicitBucketBoundaries: SWAP_BUCKETS },
  });

  const lineOf = (name: string): ServedLine => {
    const known = lines.get(name);
    if (known !== undefined) return known;
    const controller = new SwapController(name, {
      fetch: (model) =>
        withSpan("inference fetch", {}, () =>
          artifacts.bytes(model.artifactDigest, { bytesMax: model.artifactBytes || ARTIFACT_BYTES_MAX }),
        ),
      load: (bytes) => withSpan("inference load", {}, () => ports.loadModel(bytes)),
      now: ports.now,
      onFailure: ({ version, stage, attempts, error }) =>
        log.warn(
          { line: name, version, stage, attempts, err: error },
          "a version does not load: trying again",
        ),
      onLeak: (version, error) => log.error({ line: name, version, err: error }, "a model was not released"),
    });
    const line: ServedLine = { name, controller, featureDigest: null, lastSwap: null };
    lines.set(name, line);
    onLine(line);
    return line;
  };

  const swap = async (line: ServedLine, set: AspiredRecord): Promise<void> => {
    const attributes = { "millrace.line": set.line, "millrace.generation": set.generation };
    const outcome = await withSpan(
      "inference swap",
      { traceparent: set.traceparent, attributes },
      async (span) => {
        const result = await line.controller.aspire(set);
        span.setAttribute("millrace.outcome", result.outcome);
        if (result.outcome === "applied") {
          span.setAttribute("millrace.version", result.to ?? 0);
          for (const [stage, ms] of Object.entries(result.stages))
            span.setAttribute(`millrace.${stage}_ms`, ms);
        }
        report(set, result);
        return result;
      },
    );
    if (outcome.outcome !== "applied") return;
    swapSeconds.record(outcome.stages.total / 1_000, { line: set.line });
    // While the old models drained, a newer set may have been applied already.
    if (line.controller.generation !== set.generation) return;
    const atMs = Math.round(ports.clock.now() - outcome.stages.drain);
    line.lastSwap = { version: outcome.to, ms: outcome.stages, atMs };
    await artifacts.settled();
    await lastGood.keep(set);
    const needed = [...lines.values()].flatMap(({ controller }) => controller.loaded);
    await artifacts.sweep(new Set(needed.map((model) => model.artifactDigest)));
  };

  const report = ({ line, generation }: AspiredRecord, outcome: SwapOutcome): void => {
    switch (outcome.outcome) {
      case "applied":
        return log.info(
          { line, generation, from: outcome.from, to: outcome.to, ms: outcome.stages },
          "swapped",
        );
      case "refused":
        return log.error({ line, generation, reason: outcome.reason }, "aspired set refused");
      case "superseded":
      case "ignored":
        return log.info({ line, generation, outcome: outcome.outcome }, "aspired set passed over");
    }
  };

  /** Begins a swap when the set is new to this node. */
  const ending = new Set<Promise<void>>();
  const offered = new Map<string, number>();
  const offer = (set: AspiredRecord): void => {
    const line = lineOf(set.line);
    const newest = offered.get(set.line) ?? 0;
    if (set.generation === newest) return;
    offered.set(set.line, set.generation);
    if (set.generation < newest) {
      const message = "the registry wants an older generation than this node served: passed over";
      log.error({ line: set.line, generation: set.generation, served: newest }, message);
    }
    const swapped = swap(line, set)
      .catch((error: unknown) => log.error({ line: set.line, err: error }, "swap failed"))
      .finally(() => ending.delete(swapped));
    ending.add(swapped);
  };

  const definitions = new Map<string, string>();
  const define = ({
    name,
    digest,
    definitionJson,
  }: Awaited<ReturnType<AspiredSource["lines"]>>[number]): void => {
    if (definitions.get(name) === digest) return;
    definitions.set(name, digest);
    const checked = checkLine(JSON.parse(definitionJson));
    if (!checked.ok) {
      log.error({ line: name, issues: checked.issues }, "the registry holds a line that does not check");
    } else if (isLearning(checked.line)) {
      lineOf(name).featureDigest = sha256Hex(canonicalJson(featurePart(checked.line)));
    }
  };

  let asked = false;
  const look = async (): Promise<void> => {
    try {
      const [applied, sets] = await Promise.all([source.lines(), source.sets()]);
      for (const line of applied) define(line);
      for (const set of sets) if (set.generation > 0n) offer(fromRegistry(set));
    } finally {
      asked = true;
    }
  };

  // What is taken up again is no part of the loop that asked for it once.
  for (const set of await lastGood.read()) offer({ ...set, traceparent: "" });
  let waiting = new AbortController();
  const unsubscribe = source.onChange(() => waiting.abort());
  let reported = false;
  const following = every(
    0,
    stopped.signal,
    async () => {
      waiting = new AbortController();
      try {
        await look();
        reported = false;
      } finally {
        await sleep(POLL_MS, AbortSignal.any([waiting.signal, stopped.signal]));
      }
    },
    (error) => {
      if (!reported) log.warn({ err: error }, "the registry is away: serving on as it was");
      reported = true;
    },
  );

  return {
    asked: () => asked,
    stop: async () => {
      stopped.abort();
      unsubscribe();
      await following;
    },
    release: async () => {
      await Promise.all([...lines.values()].map(({ controller }) => controller.stop()));
      await Promise.all(ending);
    },
  };
}

function fromRegistry(set: registryApi.AspiredSet): AspiredRecord {
  return {
    line: set.line,
    generation: Number(set.generation),
    changedAtMs: Number(set.changedAtMs),
    traceparent: set.traceparent,
    models: set.models.map((model) => ({
      version: Number(model.version),
      role: model.role === "champion" ? "champion" : "shadow",
      artifactDigest: model.artifactDigest,
      artifactBytes: Number(model.artifactBytes),
      featureDigest: model.featureDigest,
      featureNames: model.featureNames,
    })),
  };
}
