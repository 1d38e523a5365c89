/** Slots of a pane before its sums: pane number, latest event time, count, positives. */
const PANE = 0;
const LATEST = 1;
const COUNT = 2;
const POSITIVES = 3;
const FIXED_SLOTS = 4;

/** What a window adds up to. `sums` has one entry per summed field. */
export interface WindowTotals {
  count: number;
  positives: number;
  readonly sums: Float64Array;
}

/**
 * The panes of one key, oldest first, only those that hold events, in one growing array. A pane is a span of event
 * time; counts and sums of integers are exact.
 */
export class PaneSeries {
  readonly #stride: number;
  #slots: Float64Array;
  #head = 0;
  #length = 0;

  constructor(sums: number, slots?: Float64Array) {
    this.#stride = FIXED_SLOTS + sums;
    this.#slots = slots ?? new Float64Array(this.#stride * 2);
    this.#length = slots === undefined ? 0 : slots.length / this.#stride;
  }

  get empty(): boolean {
    return this.#length === 0;
  }

  /** Adds one event; panes may come out of order. `values[i]` is added to the i-th sum. */
  add(pane: number, time: number, positive: boolean, values: readonly number[]): void {
    const at = this.#locate(pane);
    const slots = this.#slots;
    slots[at + LATEST] = Math.max(slots[at + LATEST] as number, time);
    (slots[at + COUNT] as number)++;
    if (positive) (slots[at + POSITIVES] as number)++;
    for (let i = 0; i < values.length; i++) (slots[at + FIXED_SLOTS + i] as number) += values[i] as number;
  }

  /** Forgets panes before `oldest`. */
  expire(oldest: number): void {
    while (this.#length > 0 && (this.#slots[this.#head * this.#stride] as number) < oldest) {
      this.#head++;
      this.#length--;
    }
  }

  /**
   * Totals of windows that end at event time `time` in pane `last`: `firsts[w]` is the first pane of window w, and
   * windows are given shortest first. A pane that holds an event later than `time` is left out (F1).
   */
  totals(firsts: readonly number[], last: number, time: number, into: readonly WindowTotals[]): void {
    const slots = this.#slots;
    let window = 0;
    const running = into[0] as WindowTotals;
    running.count = 0;
    running.positives = 0;
    running.sums.fill(0);
    for (let i = this.#head + this.#length - 1; i >= this.#head; i--) {
      const at = i * this.#stride;
      const pane = slots[at + PANE] as number;
      if (pane > last || (slots[at + LATEST] as number) > time) continue;
      while (pane < (firsts[window] as number)) {
        if (++window === firsts.length) return;
        carry(into[window - 1] as WindowTotals, into[window] as WindowTotals);
      }
      const total = into[window] as WindowTotals;
      total.count += slots[at + COUNT] as number;
      total.positives += slots[at + POSITIVES] as number;
      for (let s = 0; s < total.sums.length; s++)
        (total.sums[s] as number) += slots[at + FIXED_SLOTS + s] as number;
    }
    for (; window + 1 < firsts.length; window++)
      carry(into[window] as WindowTotals, into[window + 1] as WindowTotals);
  }

  /** A copy of the panes in use, as one array. */
  snapshot(): Float64Array {
    return this.#slots.slice(this.#head * this.#stride, (this.#head + this.#length) * this.#stride);
  }

  /** Slot index of the pane; makes room for it in order where it is new. */
  #locate(pane: number): number {
    const stride = this.#stride;
    let i = this.#head + this.#length - 1;
    while (i >= this.#head && (this.#slots[i * stride] as number) > pane) i--;
    if (i >= this.#head && this.#slots[i * stride] === pane) return i * stride;
    if ((this.#head + this.#length + 1) * stride > this.#slots.length) i -= this.#grow();
    const at = (i + 1) * stride;
    this.#slots.copyWithin(at + stride, at, (this.#head + this.#length) * stride);
    this.#slots.fill(0, at, at + stride);
    this.#slots[at + PANE] = pane;
    this.#slots[at + LATEST] = Number.NEGATIVE_INFINITY;
    this.#length++;
    return at;
  }

  /** Moves the panes to the front of an array with room; answers by how many panes they moved. */
  #grow(): number {
    const moved = this.#head;
    const grown = new Float64Array(Math.max(2, this.#length * 2) * this.#stride);
    grown.set(this.#slots.subarray(this.#head * this.#stride, (this.#head + this.#length) * this.#stride));
    this.#slots = grown;
    this.#head = 0;
    return moved;
  }
}

function carry(from: WindowTotals, into: WindowTotals): void {
  into.count = from.count;
  into.positives = from.positives;
  into.sums.set(from.sums);
}
