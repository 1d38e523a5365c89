import type { Clock } from "@millrace/runtime";
import type { StepDefinition } from "./step.ts";

/**
 * Saves may take a fiftieth of the time, each copies the state and writes it while the task goes on; but a fifth, where
 * else more than some seconds would have to be replayed after a crash.
 */
const COST_FACTOR = 50;
const COST_FACTOR_MIN = 5;
const REPLAYED_MS = 5_000;
/** A slow disk is no reason to replay hours. */
const INTERVAL_MS_MAX = 60_000;

/** The right to save, until `end`. `copy`: from here on it costs. */
export interface SaveTurn {
  copy(): void;
  end(): void;
}

/**
 * When the partitions of a step may save: one after another, so that the copy of one state at most is in memory, and
 * so seldom that all of them together take a small part of the time.
 */
export class Saves {
  readonly #everyMs: number;
  readonly #costs: boolean;
  readonly #clock: Clock;
  readonly #partitions: () => number;
  readonly #onFree: () => void;
  #isBusy = false;
  #costMs = 0;

  /** `onFree` is called when another partition may save. */
  constructor(
    { checkpointEveryMs, checkpoints }: Pick<StepDefinition, "checkpointEveryMs" | "checkpoints">,
    clock: Clock,
    partitions: () => number,
    onFree: () => void,
  ) {
    this.#everyMs = checkpointEveryMs;
    this.#costs = checkpoints.copiesNothing !== true;
    this.#clock = clock;
    this.#partitions = partitions;
    this.#onFree = onFree;
  }

  /**
   * ms until a partition may save that saved last at `savedAtMs`; Infinity while another one saves. `soon`: something
   * waits for it, so that only the cost counts.
   */
  dueInMs(savedAtMs: number, soon: boolean): number {
    if (this.#isBusy) return Number.POSITIVE_INFINITY;
    const roundMs = this.#costMs * this.#partitions();
    const seldomMs = Math.max(COST_FACTOR_MIN * roundMs, Math.min(COST_FACTOR * roundMs, REPLAYED_MS));
    const intervalMs = Math.max(soon ? 0 : this.#everyMs, Math.min(seldomMs, INTERVAL_MS_MAX));
    return Math.max(0, savedAtMs + intervalMs - this.#clock.now());
  }

  isFree(): boolean {
    return !this.#isBusy;
  }

  begin(): SaveTurn {
    this.#isBusy = true;
    let copiedAtMs = this.#clock.now();
    return {
      copy: () => {
        copiedAtMs = this.#clock.now();
      },
      end: () => {
        this.#isBusy = false;
        if (this.#costs) this.#costMs = this.#clock.now() - copiedAtMs;
        this.#onFree();
      },
    };
  }
}
