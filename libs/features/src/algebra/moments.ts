import type { PaneAlgebra } from "./pane-algebra.ts";

const COUNT = 0;
const MEAN = 1;
const SPREAD = 2;

/**
 * Count, mean and sum of squared differences from the mean, of numbers that are not whole: stable where the two sums
 * of the textbook formula would cancel (Welford, 1962; panes are combined as Chan, Golub and LeVeque did, 1979).
 */
export const MOMENTS: PaneAlgebra = {
  name: "moments",
  slots: 3,
  countsItself: true,
  prepare: (slots, at) => {
    slots[at + COUNT] = 0;
    slots[at + MEAN] = 0;
    slots[at + SPREAD] = 0;
  },
  update: (slots, at, values, v) => {
    const value = values[v] as number;
    const count = (slots[at + COUNT] as number) + 1;
    const before = value - (slots[at + MEAN] as number);
    const mean = (slots[at + MEAN] as number) + before / count;
    slots[at + COUNT] = count;
    slots[at + MEAN] = mean;
    slots[at + SPREAD] = (slots[at + SPREAD] as number) + before * (value - mean);
  },
  enter: (slots, at, { floats, newest, oldest, stride }, slot) => {
    let count = slots[at + COUNT] as number;
    let mean = slots[at + MEAN] as number;
    let spread = slots[at + SPREAD] as number;
    for (let p = newest + slot; p >= oldest + slot; p -= stride) {
      const further = floats[p + COUNT] as number;
      if (further === 0) continue;
      const all = count + further;
      const apart = (floats[p + MEAN] as number) - mean;
      mean = count === 0 ? (floats[p + MEAN] as number) : mean + (apart * further) / all;
      spread += (floats[p + SPREAD] as number) + (apart * apart * count * further) / all;
      count = all;
    }
    slots[at + COUNT] = count;
    slots[at + MEAN] = mean;
    slots[at + SPREAD] = spread;
  },
};
