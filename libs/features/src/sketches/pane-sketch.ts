import type { SlabSnapshot } from "../memory/slab.ts";

/**
 * How a kind of value is estimated, or counted by category, in panes: each pane has a sketch, and sketches can be
 * combined. A pane keeps its sketch's address, 0 being the empty one. There is one such object per feature; between
 * `begin` and the next `begin` it combines the sketches of one key's panes.
 */
export interface PaneSketch {
  readonly byteLength: number;
  /** Takes the value `values[v]` into a pane's sketch; answers its address, which may be a new one. */
  update(sketch: number, values: Float64Array, v: number): number;
  free(sketch: number): void;
  /** Forgets what was combined. */
  begin(): void;
  /** Combines a pane's sketch with what there is. */
  combine(sketch: number): void;
  /** Takes the value `values[v]`, that of the asking event, into what was combined. */
  include(values: Float64Array, v: number): void;
  /** Writes the answer to `totals[at ..]`; `parameter` is what the feature asks for. */
  answer(parameter: number, totals: Float64Array, at: number): void;
  /** Live arrays: to be copied or written before the sketches are used again. */
  snapshot(): SlabSnapshot;
}
