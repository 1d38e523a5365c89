import { DECAYED_FLOATS, Decay } from "./algebra/decay.ts";
import type { PaneRange } from "./algebra/pane-algebra.ts";
import type { EventInputs } from "./event-inputs.ts";
import type { DecayPlan, LevelPlan } from "./feature-plan.ts";

/** A rate has two decayed sums in a key's record: of the panes that were dropped, and of all. */
const ALL = DECAYED_FLOATS;
export const RATE_FLOATS: number = 2 * DECAYED_FLOATS;

/** The rates of a level. A key is given by its record: `floats`, and `at`, where the rates begin there. */
export class PaneRates {
  readonly #plans: readonly DecayPlan[];
  readonly #decays: readonly Decay[];

  constructor({ decays, paneMs }: LevelPlan) {
    this.#plans = decays;
    this.#decays = decays.map(({ halfLifeMs }) => new Decay(paneMs, halfLifeMs));
  }

  /** After so many panes nothing is left of an event. */
  get panes(): number {
    return Math.max(0, ...this.#decays.map(({ panes }) => panes));
  }

  /**
   * Forgets rates of which nothing is left in a pane: before an event is taken in, so that what is left of them after
   * it does not hang on whether the key has been swept away.
   */
  forget(floats: Float64Array, at: number, pane: number): void {
    for (let i = 0; i < this.#decays.length; i++) {
      const rate = at + i * RATE_FLOATS;
      if (!(this.#decays[i] as Decay).isLeft(floats, rate + ALL, pane)) {
        floats.fill(0, rate, rate + RATE_FLOATS);
      }
    }
  }

  /** Takes in an event of a pane that begins at `place` in `panes`. */
  update(
    floats: Float64Array,
    at: number,
    event: EventInputs,
    pane: number,
    panes: PaneRange,
    place: number,
  ): void {
    for (let i = 0; i < this.#plans.length; i++) {
      const one = this.#plans[i] as DecayPlan;
      if (!event.has(one)) continue;
      panes.floats[place + one.floats] =
        (panes.floats[place + one.floats] as number) + (event.values[one.input] as number);
      (this.#decays[i] as Decay).add(floats, at + i * RATE_FLOATS + ALL, pane, event.values, one.input);
    }
  }

  /** Takes in an event of a pane that was dropped, or may be. */
  updateDropped(floats: Float64Array, at: number, event: EventInputs, pane: number): void {
    for (let i = 0; i < this.#plans.length; i++) {
      const one = this.#plans[i] as DecayPlan;
      if (!event.has(one)) continue;
      (this.#decays[i] as Decay).add(floats, at + i * RATE_FLOATS, pane, event.values, one.input);
      (this.#decays[i] as Decay).add(floats, at + i * RATE_FLOATS + ALL, pane, event.values, one.input);
    }
  }

  /** The pane that begins at `place` in `panes` is about to be dropped. */
  drop(floats: Float64Array, at: number, panes: PaneRange, place: number): void {
    for (let i = 0; i < this.#plans.length; i++) {
      const slot = place + (this.#plans[i] as DecayPlan).floats;
      const pane = panes.ints[place * 2] as number;
      (this.#decays[i] as Decay).add(floats, at + i * RATE_FLOATS, pane, panes.floats, slot);
    }
  }

  /** Writes the rates as of a pane that no event of the key is later than; of `own` as well, if it is not null. */
  read(floats: Float64Array, at: number, own: EventInputs | null, pane: number, answers: Float64Array): void {
    for (let i = 0; i < this.#plans.length; i++) {
      const one = this.#plans[i] as DecayPlan;
      const decay = this.#decays[i] as Decay;
      let sum = decay.asOf(floats, at + i * RATE_FLOATS + ALL, pane);
      if (own?.has(one)) sum += own.values[one.input] as number;
      answers[one.answer] = sum * decay.perSecond;
    }
  }

  /** Writes the rates as of a pane in the past, from what was dropped and `panes`, all that are there up to it. */
  readPast(
    floats: Float64Array,
    at: number,
    own: EventInputs | null,
    pane: number,
    panes: PaneRange,
    answers: Float64Array,
  ): void {
    for (let i = 0; i < this.#plans.length; i++) {
      const one = this.#plans[i] as DecayPlan;
      const decay = this.#decays[i] as Decay;
      let sum = decay.withPanes(floats, at + i * RATE_FLOATS, panes, one.floats, pane);
      if (own?.has(one)) sum += own.values[one.input] as number;
      answers[one.answer] = sum * decay.perSecond;
    }
  }

  /** Whether anything is left in a pane. */
  areLeft(floats: Float64Array, at: number, pane: number): boolean {
    return this.#decays.some((decay, i) => decay.isLeft(floats, at + i * RATE_FLOATS + ALL, pane));
  }
}
