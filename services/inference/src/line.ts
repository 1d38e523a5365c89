import type { ServePolicy } from "@millrace/lines";
import { quoted } from "@millrace/open-inference";
import { RpcError, TimeoutError, withDeadline } from "@millrace/runtime";
import type { RecentRequests, SwapController, SwapOutcome, SwapStages } from "@millrace/serving";
import { ModelStatistics, type Outcome } from "./statistics.ts";

/** Versions whose statistics are kept: those that serve, and some that did. */
const VERSIONS_KEPT = 16;
const LOAD_MS = 60_000;
const RETRY_MS = 1_000;

/** One line in this node: its models, and what became of its requests. */
export class NodeLine {
  readonly name: string;
  readonly controller: SwapController;
  readonly recent: RecentRequests;
  /** How it wants to be served; the default until the registry has said. */
  serve: ServePolicy;
  /** Digest of the present feature definition; null until the registry has answered, or where it has no features. */
  featureDigest: string | null = null;
  /** The swap that serves now, and when it began to. */
  lastSwap:
    | (Pick<SwapOutcome & { outcome: "applied" }, "compared"> & {
        readonly version: number | null;
        readonly ms: SwapStages;
        readonly atMs: number;
      })
    | null = null;
  /** Requests since the start of the process, whatever version answered. */
  readonly requests: Record<Outcome, number> = { answered: 0, refused: 0, cancelled: 0, failed: 0 };
  /** Monotonic ms of the last request. */
  usedAt = 0;
  /** Whether an operator has unloaded it: then it is not loaded on demand. */
  isUnloaded = false;
  readonly #statistics = new Map<number, ModelStatistics>();

  constructor(name: string, controller: SwapController, recent: RecentRequests, serve: ServePolicy) {
    this.name = name;
    this.controller = controller;
    this.recent = recent;
    this.serve = serve;
  }

  /** Whether requests are being answered. */
  get isBusy(): boolean {
    for (const { inFlight } of this.#statistics.values()) if (inFlight > 0) return true;
    return false;
  }

  /**
   * Brings its models back where they were let go to make room. Rejects with an RpcError: it was unloaded, or the
   * champion cannot be loaded, or not within so many ms.
   */
  async awake(deadlineMs: number): Promise<void> {
    const { controller, name } = this;
    if (!controller.isParked) return;
    if (this.isUnloaded) {
      throw new RpcError("unavailable", `line ${quoted(name)} was unloaded: load it first`);
    }
    try {
      await withDeadline(deadlineMs, `loading line ${name}`, controller.wake());
    } catch (error) {
      if (error instanceof TimeoutError) throw new RpcError("deadlineExceeded", error.message);
      const message = `line ${quoted(name)} cannot be loaded now`;
      throw new RpcError("unavailable", message, { cause: error, retryAfterMs: RETRY_MS });
    }
  }

  /** Brings its models back where they were unloaded or let go. Rejects as `awake` does. */
  async load(): Promise<void> {
    this.isUnloaded = false;
    await this.awake(LOAD_MS);
  }

  /** Lets its models go until `load`. Resolves when their memory is free. */
  async unload(): Promise<void> {
    this.isUnloaded = true;
    await this.controller.park();
  }

  /** By version; 0 stands for requests that named none that is loaded. */
  get statistics(): ReadonlyMap<number, ModelStatistics> {
    return this.#statistics;
  }

  statisticsOf(version: number): ModelStatistics {
    const known = this.#statistics.get(version);
    if (known !== undefined) return known;
    for (const [old, { inFlight }] of this.#statistics) {
      if (this.#statistics.size < VERSIONS_KEPT) break;
      if (old > 0 && inFlight === 0 && this.controller.roleOf(old) === null) this.#statistics.delete(old);
    }
    const found = new ModelStatistics();
    this.#statistics.set(version, found);
    return found;
  }
}

/** The line of a name. Throws an RpcError that names the `field` which the name came in, and the lines that there are. */
export function lineNamed(lines: ReadonlyMap<string, NodeLine>, name: string, field: string): NodeLine {
  const line = lines.get(name);
  if (line !== undefined) return line;
  const known = [...lines.keys()].join(", ") || "none yet";
  throw new RpcError("notFound", `${field}: no line ${quoted(name)}; lines here: ${known}`);
}
