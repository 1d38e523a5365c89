/** Some panes of one key, which lie one after the other: places are in units of 8 bytes. One object is used again. */
export interface PaneRange {
  floats: Float64Array;
  ints: Int32Array;
  /** Where the newest and the oldest of them begin; none when `oldest` is behind `newest`. */
  newest: number;
  oldest: number;
  /** Units of a pane. */
  readonly stride: number;
}

/**
 * How one kind of value is counted: a few doubles (slots) in each pane, which are combined for each answer, from the
 * newest pane of the window to the oldest.
 */
export interface PaneAlgebra {
  readonly name: string;
  /** How many slots there are. */
  readonly slots: number;
  /** The asking event counts in its own vector. */
  readonly countsItself: boolean;
  /** Makes the slots that begin at `slots[at]` empty. */
  prepare(slots: Float64Array, at: number): void;
  /** Takes in an event: its value is `values[v]`, its time `values[TIME]` (see `event-values.ts`). */
  update(slots: Float64Array, at: number, values: Float64Array, v: number): void;
  /** Combines what there is with panes that are older; `slot` is where their slots begin in each. */
  enter(slots: Float64Array, at: number, panes: PaneRange, slot: number): void;
}
