import type { PaneRange } from "./algebra/pane-algebra.ts";
import type { EventInputs } from "./event-inputs.ts";
import type { LevelPlan, SketchAsk, SketchPlan } from "./feature-plan.ts";
import type { SlabSnapshot } from "./memory/slab.ts";
import { HyperLogLog } from "./sketches/hyper-log-log.ts";
import type { PaneSketch } from "./sketches/pane-sketch.ts";
import { QuantileSketch } from "./sketches/quantile-sketch.ts";
import { TopCounts } from "./sketches/top-counts.ts";

/** What is sketched in the panes of a level. */
export class PaneSketches {
  readonly #plans: readonly SketchPlan[];
  readonly #sketches: readonly PaneSketch[];

  constructor({ sketches }: LevelPlan, snapshot: readonly SlabSnapshot[] | null) {
    this.#plans = sketches;
    this.#sketches = sketches.map(({ kind }, i) => sketchOf(kind, snapshot?.[i] ?? null));
  }

  get byteLength(): number {
    return this.#sketches.reduce((sum, sketch) => sum + sketch.byteLength, 0);
  }

  /** Takes an event into the pane that begins at `place` in `panes`. */
  update(event: EventInputs, { ints }: PaneRange, place: number): void {
    for (let i = 0; i < this.#plans.length; i++) {
      const one = this.#plans[i] as SketchPlan;
      if (!event.has(one)) continue;
      const slot = place * 2 + one.ints;
      ints[slot] = (this.#sketches[i] as PaneSketch).update(ints[slot] as number, event.values, one.input);
    }
  }

  /** The pane that begins at `place` in `panes` is about to be dropped. */
  drop({ ints }: PaneRange, place: number): void {
    for (let i = 0; i < this.#plans.length; i++) {
      (this.#sketches[i] as PaneSketch).free(ints[place * 2 + (this.#plans[i] as SketchPlan).ints] as number);
    }
  }

  /**
   * Writes the answers for the windows of `windows` panes that end with `pane`, from `panes`, all that are there up to
   * it and after `dead`; of `own` as well, if it is not null.
   */
  read(
    own: EventInputs | null,
    pane: number,
    windows: Int32Array,
    panes: PaneRange,
    dead: number,
    answers: Float64Array,
  ): void {
    const { ints, newest, oldest, stride } = panes;
    for (let i = 0; i < this.#plans.length; i++) {
      const one = this.#plans[i] as SketchPlan;
      const sketch = this.#sketches[i] as PaneSketch;
      sketch.begin();
      if (own?.has(one)) sketch.include(own.values, one.input);
      let p = newest;
      for (let a = 0; a < one.asks.length; a++) {
        const { window, parameter, answer } = one.asks[a] as SketchAsk;
        const limit = Math.max(pane - (windows[window] as number), dead);
        for (; p >= oldest && (ints[p * 2] as number) > limit; p -= stride) {
          sketch.combine(ints[p * 2 + one.ints] as number);
        }
        sketch.answer(parameter, answers, answer);
      }
    }
  }

  /** Live arrays: to be copied or written before the sketches are used again. */
  snapshot(): SlabSnapshot[] {
    return this.#sketches.map((sketch) => sketch.snapshot());
  }
}

function sketchOf(kind: SketchPlan["kind"], snapshot: SlabSnapshot | null): PaneSketch {
  switch (kind) {
    case "quantile":
      return new QuantileSketch(snapshot);
    case "top":
      return new TopCounts(snapshot);
    case "distinct-approx":
      return new HyperLogLog(snapshot);
  }
}
