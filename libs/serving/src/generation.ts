import type { Lane } from "./batch.ts";
import type { ServedModel } from "./model.ts";

/** A version as the registry describes it: which bytes, and which values they take in which order. */
export interface VersionModel {
  readonly version: number;
  readonly role: "champion" | "challenger" | "shadow";
  readonly artifactDigest: string;
  readonly artifactBytes: number;
  readonly featureDigest: string;
  readonly featureNames: readonly string[];
  /** Empty: it was made of no dataset here. */
  readonly datasetDigest: string;
  /** DSSE envelope about the artifact (`@millrace/signing`); empty: nobody has signed it. */
  readonly signature: string;
  /** Share of the requests that it answers, 0..1: the champion has what the challenger leaves, a shadow none. */
  readonly share: number;
  readonly recipe: string;
}

/**
 * One direction only: ready (loaded and warm, may be acquired) -> draining (nobody new) -> released (memory free).
 * Before it is ready there is no generation, only the controller's load in progress.
 */
export type GenerationState = "ready" | "draining" | "released";

/** The right to use a generation's model. Whoever acquires one releases it, whatever happens. */
export interface Handle {
  readonly model: ServedModel;
  /** Where requests for it wait and share runs. */
  readonly lane: Lane;
  readonly of: VersionModel;
  /** Gives the right back; further calls do nothing. */
  release(): void;
}

/** One loaded version in this node, from the moment it is warm until its memory is free (G1, G2). */
export class Generation {
  readonly of: VersionModel;
  readonly lane: Lane;
  /** Monotonic ms at which it was loaded and warm. */
  readonly readyAt: number;
  readonly #model: ServedModel;
  #state: GenerationState = "ready";
  #inFlight = 0;
  #released: Promise<void> | undefined;
  #free: () => void = () => {};

  constructor(of: VersionModel, model: ServedModel, lane: Lane, readyAt: number) {
    this.of = of;
    this.#model = model;
    this.lane = lane;
    this.readyAt = readyAt;
  }

  /** What the model holds in memory, about. */
  get memoryBytes(): number {
    return this.#model.memoryBytes;
  }

  get state(): GenerationState {
    return this.#state;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Only a ready generation may be acquired; throws otherwise: that is a defect of the caller. */
  acquire(): Handle {
    if (this.#state !== "ready") throw new Error(`version ${this.of.version} is ${this.#state}`);
    this.#inFlight++;
    let held = true;
    return {
      model: this.#model,
      lane: this.lane,
      of: this.of,
      release: () => {
        if (!held) return;
        held = false;
        this.#inFlight--;
        if (this.#inFlight === 0) this.#free();
      },
    };
  }

  /** Lets nobody new in; resolves when the last handle was released and the model's memory is free. */
  drain(): Promise<void> {
    this.#released ??= (async () => {
      this.#state = "draining";
      if (this.#inFlight > 0) {
        await new Promise<void>((resolve) => {
          this.#free = resolve;
        });
      }
      this.#state = "released";
      await this.#model.release();
    })();
    return this.#released;
  }
}
