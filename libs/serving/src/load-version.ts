import type { ComparisonReport } from "@millrace/rollout";
import type { RunTimes } from "./batch-clock.ts";
import { compareOn } from "./compare.ts";
import type { Handle, VersionModel } from "./generation.ts";
import type { Loader, ServedModel } from "./model.ts";
import type { RecentRequests } from "./recent.ts";
import { warmUp } from "./warm-up.ts";

/** What a version goes through before it may serve. */
export type LoadStage = "fetch" | "prove" | "load" | "warm";

export interface LoadPorts {
  /** The verified bytes of a version. */
  readonly fetch: (model: VersionModel) => Promise<Uint8Array>;
  /** Tries the bytes where they can do no harm; rejects with the reason when they must not be loaded here. */
  readonly prove: (bytes: Uint8Array, of: VersionModel) => Promise<void>;
  readonly load: Loader;
  /** Requests to warm up with. */
  readonly recent: RecentRequests;
  /** Monotonic ms. */
  readonly now: () => number;
  /** Called when a model's memory could not be freed. */
  readonly onLeak: (version: number, error: unknown) => void;
}

/** A version that may serve. */
export interface LoadedVersion {
  readonly model: ServedModel;
  /** ms per stage. */
  readonly stages: Readonly<Record<LoadStage, number>>;
  /** How long its runs took while it was warmed up. */
  readonly observed: RunTimes;
  /** With the champion of that moment; null: there was none, or nothing to compare. */
  readonly compared: ComparisonReport | null;
}

/** At which stage a load failed; `cause` says why. Nothing of the version is in memory any more. */
export class LoadError extends Error {
  readonly stage: LoadStage;
  constructor(stage: LoadStage, cause: unknown) {
    super(`${stage} failed`, { cause });
    this.name = "LoadError";
    this.stage = stage;
  }
}

/**
 * Brings a version to where it may serve: fetched, proven, loaded, warm, and compared with the champion on what was asked
 * of late. Rejects with a LoadError.
 */
export async function loadVersion(
  of: VersionModel,
  ports: LoadPorts,
  acquireChampion: () => Handle | null,
): Promise<LoadedVersion> {
  const { fetch, prove, load, recent, now, onLeak } = ports;
  const stages = { fetch: 0, prove: 0, load: 0, warm: 0 };
  const timed = async <T>(stage: LoadStage, work: () => Promise<T>): Promise<T> => {
    const startedAt = now();
    try {
      return await work();
    } catch (error) {
      throw new LoadError(stage, error);
    } finally {
      stages[stage] = now() - startedAt;
    }
  };
  const bytes = await timed("fetch", () => fetch(of));
  await timed("prove", () => prove(bytes, of));
  const model = await timed("load", () => load(bytes, of));
  try {
    return await timed("warm", async () => {
      const observed = await warmUp(model, of, recent.all(), now);
      return { model, stages, observed, compared: await compareWith(acquireChampion(), model, recent) };
    });
  } catch (error) {
    await model.release().catch((leak: unknown) => onLeak(of.version, leak));
    throw error;
  }
}

/** A champion that fails meanwhile proves nothing about the next. */
async function compareWith(
  champion: Handle | null,
  next: ServedModel,
  recent: RecentRequests,
): Promise<ComparisonReport | null> {
  if (champion === null) return null;
  try {
    return await compareOn(recent.all(), champion.model, next);
  } catch {
    return null;
  } finally {
    champion.release();
  }
}
