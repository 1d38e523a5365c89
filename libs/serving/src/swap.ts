import type { Arm, ComparisonReport } from "@millrace/rollout";
import type { Rollout } from "@millrace/versions";
import type { Lane } from "./batch.ts";
import type { RunTimes } from "./batch-clock.ts";
import type { VersionModel } from "./generation.ts";
import type { LoadPorts, LoadStage } from "./load-version.ts";
import type { ServedModel } from "./model.ts";

/** What this node shall serve for one line. */
export interface AspiredSet {
  readonly line: string;
  /** Grows with every change; the controller ignores a lower one. */
  readonly generation: number;
  /** The champion first, then a challenger, then shadows. */
  readonly models: readonly VersionModel[];
  /** How requests are divided between champion and challenger; null: the champion answers alone. */
  readonly rollout: Rollout | null;
}

/** How the champion shares its requests now. */
export interface Division {
  readonly strategy: Rollout["strategy"];
  readonly by: Rollout["by"];
  /** For `assign` of @millrace/rollout. */
  readonly plan: { readonly salt: string; readonly arms: readonly [Arm, Arm] };
}

/** Stages of a swap in ms. fetch, prove, load and warm are the champion's, 0 when it was loaded already. */
export interface SwapStages {
  readonly fetch: number;
  readonly prove: number;
  readonly load: number;
  readonly warm: number;
  readonly flip: number;
  /** Until the last call in flight on the old models had its answer, and they were released. */
  readonly drain: number;
  /** From the arrival of the aspired set to the end. */
  readonly total: number;
}

/** What became of an aspired set. */
export type SwapOutcome =
  /** It serves. Shadows that could not be loaded are named in `failures`. */
  | {
      readonly outcome: "applied";
      readonly generation: number;
      /** Champion before and after. */
      readonly from: number | null;
      readonly to: number | null;
      readonly stages: SwapStages;
      /** How the champion's answers to recorded requests differ from its predecessor's; null: not compared. */
      readonly compared: ComparisonReport | null;
    }
  /** Nothing was done: it is older than, or equal to, the one that the controller works on. */
  | { readonly outcome: "ignored" }
  /** A newer set arrived, or the controller was stopped, before this one served. */
  | { readonly outcome: "superseded" }
  /** The line is parked: nothing is loaded until it is woken. */
  | { readonly outcome: "parked" }
  /** It contradicts what is loaded. */
  | { readonly outcome: "refused"; readonly reason: string };

/** Why a wanted version is not loaded. */
export interface LoadFailure {
  readonly version: number;
  /** What it failed at; serve: it was loaded, and has died since. */
  readonly stage: LoadStage | "serve";
  readonly attempts: number;
  readonly error: unknown;
}

export interface SwapControllerOptions extends LoadPorts {
  /** The waiting room of a model that is about to serve. `observed`: how long its runs took while it was warmed up. */
  readonly lane: (model: ServedModel, observed: RunTimes) => Lane;
  /**
   * Called whenever a set begins to serve: its champion is the one that answers from now on, for the first time, or again
   * after `wake` or `failed`. The models that it replaced may still drain. Must not throw.
   */
  readonly onServing: (set: AspiredSet) => void;
  /** Called when a version could not be loaded, or has died; it will be tried again. */
  readonly onFailure: (failure: LoadFailure) => void;
  /** Waits until a failed version is tried again. Default: 0.5 s, then twice as long each time, up to 30 s. */
  readonly pause?: (attempts: number, signal: AbortSignal) => Promise<void>;
}
