import { TIME } from "../event-values.ts";
import type { PaneAlgebra } from "./pane-algebra.ts";

/** Event time of the newest event, the asking event aside, ms; -Infinity where there is none. */
export const NEWEST: PaneAlgebra = {
  name: "newest",
  slots: 1,
  countsItself: false,
  prepare: (slots, at) => {
    slots[at] = Number.NEGATIVE_INFINITY;
  },
  update: (slots, at, values) => {
    if ((values[TIME] as number) > (slots[at] as number)) slots[at] = values[TIME] as number;
  },
  enter: (slots, at, { floats, newest, oldest, stride }, slot) => {
    let p = newest + slot;
    for (; p >= oldest + slot && slots[at] === Number.NEGATIVE_INFINITY; p -= stride)
      slots[at] = floats[p] as number;
  },
};
