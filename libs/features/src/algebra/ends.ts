import { TIME } from "../event-values.ts";
import type { PaneAlgebra } from "./pane-algebra.ts";

/** Slots: event time, ms, and value. */
const WHEN = 0;
const VALUE = 1;

/** Value of the newest event by event time; of equal times the one that was accepted last. NaN where there is none. */
export const LAST: PaneAlgebra = {
  name: "last",
  slots: 2,
  countsItself: true,
  prepare: (slots, at) => {
    slots[at + WHEN] = Number.NEGATIVE_INFINITY;
    slots[at + VALUE] = Number.NaN;
  },
  update: (slots, at, values, v) => {
    if ((values[TIME] as number) < (slots[at + WHEN] as number)) return;
    slots[at + WHEN] = values[TIME] as number;
    slots[at + VALUE] = values[v] as number;
  },
  // The first pane from the newest that has an event has it.
  enter: (slots, at, { floats, newest, oldest, stride }, slot) => {
    let p = newest + slot;
    for (; p >= oldest + slot && slots[at + WHEN] === Number.NEGATIVE_INFINITY; p -= stride) {
      slots[at + WHEN] = floats[p + WHEN] as number;
      slots[at + VALUE] = floats[p + VALUE] as number;
    }
  },
};

/** Value of the oldest event by event time; of equal times the one that was accepted first. NaN where there is none. */
export const FIRST: PaneAlgebra = {
  name: "first",
  slots: 2,
  countsItself: true,
  prepare: (slots, at) => {
    slots[at + WHEN] = Number.POSITIVE_INFINITY;
    slots[at + VALUE] = Number.NaN;
  },
  update: (slots, at, values, v) => {
    if ((values[TIME] as number) >= (slots[at + WHEN] as number)) return;
    slots[at + WHEN] = values[TIME] as number;
    slots[at + VALUE] = values[v] as number;
  },
  // The first pane from the oldest that has an event has it.
  enter: (slots, at, { floats, newest, oldest, stride }, slot) => {
    for (let p = oldest + slot; p <= newest + slot; p += stride) {
      if (floats[p + WHEN] === Number.POSITIVE_INFINITY) continue;
      slots[at + WHEN] = floats[p + WHEN] as number;
      slots[at + VALUE] = floats[p + VALUE] as number;
      return;
    }
  },
};
