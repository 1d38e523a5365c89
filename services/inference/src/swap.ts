import { canonicalJson, type registryApi } from "@millrace/contracts";
import { DEFAULT_SERVE, featurePart, isLearning, type ServePolicy, storedLine } from "@millrace/lines";
import { type Clock, every, type Log, type Meter, sha256Hex, sleep, withSpan } from "@millrace/runtime";
import {
  type Artifacts,
  type AspiredSet,
  type Batcher,
  recentRequests,
  type ServedModel,
  SwapController,
  type SwapOutcome,
  type VersionModel,
} from "@millrace/serving";
import type { RolloutStrategy } from "@millrace/versions";
import type { LastGood } from "./last-good.ts";
import { NodeLine } from "./line.ts";

/** An aspired set as the registry has it, in plain numbers. */
export interface AspiredRecord extends AspiredSet {
  readonly changedAtMs: number;
  /** W3C traceparent of the loop that asks for it; empty when there is none. */
  readonly traceparent: string;
  /** How the line wanted to be served when the set was kept; null where that is not known. */
  readonly serve: ServePolicy | null;
}

/** What the registry says, and when to ask it again. */
export interface AspiredSource {
  lines(): Promise<readonly Pick<registryApi.Line, "name" | "digest" | "definitionJson">[]>;
  sets(): Promise<readonly registryApi.AspiredSet[]>;
  /** Calls `look` when something may have changed. Announcements may be lost: the source is polled as well. */
  onChange(look: () => void): () => void;
}

export interface SwapPorts {
  readonly source: AspiredSource;
  readonly artifacts: Artifacts;
  /** Checks who signed the bytes of this digest; throws with the reason why they may not be loaded. */
  readonly verify: (of: VersionModel, line: string) => void;
  /** Tries a model where it can do no harm; rejects with the reason why it may not be loaded. */
  readonly prove: (bytes: Uint8Array, of: VersionModel, line: NodeLine) => Promise<void>;
  readonly loadModel: (bytes: Uint8Array, of: VersionModel, line: NodeLine) => Promise<ServedModel>;
  readonly batcher: Batcher;
  readonly lastGood: LastGood;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
}

export interface SwapListener {
  /** Called once for each line. */
  readonly onLine: (line: NodeLine) => void;
  /** Called once for each line whose models score feature vectors. */
  readonly onFeatures: (line: NodeLine) => void;
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
/** Requests recorded for the warm-up of the next version. */
const RECENT = { keep: 32, everyMs: 250, bytesMax: 64 * 1024 };
const ARTIFACT_BYTES_MAX = 1024 * 1024 * 1024;
const SWAP_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Serves what the registry wants served: first the sets that served last, from this node's disk, then whatever the
 * registry says, on each announcement and every two seconds.
 */
export async function startSwapping(
  ports: SwapPorts,
  { onLine, onFeatures }: SwapListener,
): Promise<Swapping> {
  const { source, artifacts, lastGood, batcher, log } = ports;
  const stopped = new AbortController();
  const lines = new Map<string, NodeLine>();
  const policies = new Map<string, ServePolicy>();
  /** Digests of models that serve or did. */
  const served = new Set<string>();
  const swapSeconds = ports.meter.createHistogram("millrace_swap_seconds", {
    description: "From the arrival of an aspired set to its champion serving and the old models released",
    advice: { explicitBucketBoundaries: SWAP_BUCKETS },
  });

  /** Work that has to end before the node has stopped. */
  const ending = new Set<Promise<void>>();
  const track = (work: Promise<void>): void => {
    ending.add(work);
    void work.finally(() => ending.delete(work));
  };

  const lineOf = (name: string): NodeLine => {
    const known = lines.get(name);
    if (known !== undefined) return known;
    const recent = recentRequests(RECENT);
    const controller = new SwapController(name, {
      fetch: (model) =>
        withSpan("inference fetch", {}, () =>
          artifacts.bytes(model.artifactDigest, { bytesMax: model.artifactBytes || ARTIFACT_BYTES_MAX }),
        ),
      prove: async (bytes, of) => {
        // The bytes have been hashed as they came, and what is loaded is this very buffer.
        ports.verify(of, name);
        // What has served here has been tried before, and its bytes are the same by their digest.
        if (served.has(of.artifactDigest)) return;
        await withSpan("inference prove", {}, () => ports.prove(bytes, of, line));
      },
      load: (bytes, of) => withSpan("inference load", {}, () => ports.loadModel(bytes, of, line)),
      lane: (model, observed) =>
        batcher.lane(
          model,
          {
            get objectiveMs() {
              return line.serve.latencyMs;
            },
          },
          observed,
        ),
      recent,
      onServing: (set) => track(keep(line, set as AspiredRecord)),
      now: ports.now,
      onFailure: ({ version, stage, attempts, error }) =>
        log.warn(
          { line: name, version, stage, attempts, err: error },
          "a version does not load: trying again",
        ),
      onLeak: (version, error) => log.error({ line: name, version, err: error }, "a model was not released"),
    });
    const line = new NodeLine(name, controller, recent, policies.get(name) ?? DEFAULT_SERVE);
    lines.set(name, line);
    onLine(line);
    return line;
  };

  const swap = async (line: NodeLine, set: AspiredRecord): Promise<void> => {
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
    for (const { artifactDigest } of line.controller.loaded) served.add(artifactDigest);
    line.lastSwap = { version: outcome.to, ms: outcome.stages, compared: outcome.compared, atMs };
  };

  /** Keeps what serves now for a start without anybody else, and lets go of files that nobody needs. */
  const keep = async (line: NodeLine, set: AspiredRecord): Promise<void> => {
    for (const { artifactDigest } of line.controller.loaded) served.add(artifactDigest);
    try {
      await artifacts.settled();
      await lastGood.keep({ ...set, serve: line.serve });
      const needed = [...lines.values()].flatMap(({ controller }) => [
        ...controller.loaded,
        ...controller.wanted,
      ]);
      await artifacts.sweep(new Set([...needed.map((model) => model.artifactDigest), ...lastGood.digests()]));
    } catch (error) {
      log.error({ line: line.name, err: error }, "what serves now was not kept on disk");
    }
  };

  const report = ({ line, generation }: AspiredRecord, outcome: SwapOutcome): void => {
    switch (outcome.outcome) {
      case "applied":
        return log.info(
          {
            line,
            generation,
            from: outcome.from,
            to: outcome.to,
            ms: outcome.stages,
            compared: outcome.compared,
          },
          "swapped",
        );
      case "refused":
        return log.error({ line, generation, reason: outcome.reason }, "aspired set refused");
      case "superseded":
      case "parked":
      case "ignored":
        return log.info({ line, generation, outcome: outcome.outcome }, "aspired set passed over");
    }
  };

  const followed = new Set<NodeLine>();
  const follow = (line: NodeLine): void => {
    if (followed.has(line)) return;
    followed.add(line);
    onFeatures(line);
  };

  /** Begins a swap when the set is new to this node. */
  const offered = new Map<string, number>();
  const offer = (set: AspiredRecord): void => {
    const line = lineOf(set.line);
    if (set.models.some(({ featureNames }) => featureNames.length > 0)) follow(line);
    const newest = offered.get(set.line) ?? 0;
    if (set.generation === newest) return;
    offered.set(set.line, set.generation);
    if (set.generation < newest) {
      const message = "the registry wants an older generation than this node served: passed over";
      log.error({ line: set.line, generation: set.generation, served: newest }, message);
    }
    track(
      swap(line, set).catch((error: unknown) => log.error({ line: set.line, err: error }, "swap failed")),
    );
  };

  const definitions = new Map<string, string>();
  const define = ({
    name,
    digest,
    definitionJson,
  }: Awaited<ReturnType<AspiredSource["lines"]>>[number]): void => {
    if (definitions.get(name) === digest) return;
    const definition = storedLine(definitionJson);
    definitions.set(name, digest);
    policies.set(name, definition.serve);
    // A line that learns will have a champion; of others it is not known whether anything is ever imported.
    const line = isLearning(definition) ? lineOf(name) : lines.get(name);
    if (line === undefined) return;
    if (isLearning(definition)) follow(line);
    line.serve = definition.serve;
    line.featureDigest = isLearning(definition) ? sha256Hex(canonicalJson(featurePart(definition))) : null;
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
  for (const set of await lastGood.read()) {
    if (set.serve !== null) policies.set(set.line, set.serve);
    for (const { artifactDigest } of set.models) served.add(artifactDigest);
    offer({ ...set, traceparent: "" });
  }
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
  const share = set.models.find(({ role }) => role === "challenger")?.share ?? 0;
  return {
    line: set.line,
    generation: Number(set.generation),
    changedAtMs: Number(set.changedAtMs),
    traceparent: set.traceparent,
    serve: null,
    rollout:
      set.rollout === undefined
        ? null
        : {
            version: Number(set.rollout.version),
            strategy: set.rollout.strategy as RolloutStrategy,
            by: set.rollout.by === "entity" ? "entity" : "request",
            salt: set.rollout.salt,
            share,
            startedAtMs: Number(set.rollout.startedAtMs),
          },
    models: set.models.map((model) => ({
      version: Number(model.version),
      role: model.role as VersionModel["role"],
      artifactDigest: model.artifactDigest,
      artifactBytes: Number(model.artifactBytes),
      featureDigest: model.featureDigest,
      featureNames: model.featureNames,
      datasetDigest: model.datasetDigest,
      signature: model.signature,
      share: model.share,
      recipe: model.recipe,
    })),
  };
}
