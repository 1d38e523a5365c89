import type { PaneAlgebra } from "./pane-algebra.ts";

/** Sum of numbers that are not whole: in the order of the log within a pane, of panes from the newest to the oldest. */
export const INEXACT_SUM: PaneAlgebra = {
  name: "inexact-sum",
  slots: 1,
  countsItself: true,
  prepare: (slots, at) => {
    slots[at] = 0;
  },
  update: (slots, at, values, v) => {
    slots[at] = (slots[at] as number) + (values[v] as number);
  },
  enter: (slots, at, { floats, newest, oldest, stride }, slot) => {
    let total = slots[at] as number;
    for (let p = newest; p >= oldest; p -= stride) total += floats[p + slot] as number;
    slots[at] = total;
  },
};
