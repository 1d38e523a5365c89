import type { Split } from "./ensemble.ts";

/**
 * What a row is asked: the value of a feature, or whether it is one of some. A slot has an FP32 value per row, NaN where
 * the feature is unknown.
 */
export interface Slot {
  readonly feature: number;
  /** Null for the value itself; else the slot is MEMBER for the values of the set and NO_MEMBER for all others. */
  readonly members: ReadonlySet<number> | null;
}

/**
 * Before trees are walked, each slot becomes two columns: integers in the order of the slot's values, with unknown values
 * below all others in the one and above all others in the other. So every split, of whatever mode and wherever it
 * sends unknown values, is the one question "is the column at most the key?": left if it is.
 */
export interface Question {
  readonly slot: number;
  readonly unknown: typeof LOWEST | typeof HIGHEST;
  readonly key: number;
  readonly left: number;
  readonly right: number;
}

export const LOWEST = -0x80000000;
export const HIGHEST = 0x7fffffff;
export const MEMBER = 0;
export const NO_MEMBER = 1;

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/**
 * An integer for a known FP32 value, in the order of the values: the bits of a positive number are in its order, those
 * of a negative one in the reverse. Both zeros have key 0; all keys lie between LOWEST and HIGHEST.
 */
export function orderKey(value: number): number {
  float[0] = value + 0; // -0 becomes 0
  const raw = bits[0] as number;
  return raw ^ ((raw >> 31) & HIGHEST);
}

/** The slots that the splits of an ensemble need, found while they are asked for. */
export class Slots {
  readonly list: Slot[] = [];
  readonly #numbers = new Map<string, number>();

  question({ feature, mode, values, unknownTrue, whenTrue, whenFalse }: Split): Question {
    // "Not at most", "not below" and "in none" are asked the other way round. Only NEQ is true of an unknown value.
    const isSwapped = mode === "GT" || mode === "GTE" || mode === "NEQ";
    const isUnknownLeft = (unknownTrue || mode === "NEQ") !== isSwapped;
    const isSet = mode === "EQ" || mode === "NEQ";
    const members = isSet ? new Set(values.filter((value) => !Number.isNaN(value))) : null;
    return {
      slot: this.#number({ feature, members }),
      unknown: isUnknownLeft ? LOWEST : HIGHEST,
      key: isSet ? orderKey(MEMBER) : thresholdKey(mode, values[0] as number),
      left: isSwapped ? whenFalse : whenTrue,
      right: isSwapped ? whenTrue : whenFalse,
    };
  }

  #number(slot: Slot): number {
    const { feature, members } = slot;
    const kind = members === null ? "value" : `in ${[...members].sort((a, b) => a - b).join()}`;
    const name = `${feature} ${kind}`;
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.list.length);
    return this.list.push(slot) - 1;
  }
}

/** The largest key for which the answer is yes (GT and GTE: for which it is no). Nothing is true of NaN. */
function thresholdKey(mode: Split["mode"], threshold: number): number {
  if (Number.isNaN(threshold)) return mode === "LT" || mode === "LEQ" ? LOWEST : HIGHEST - 1;
  return orderKey(threshold) - (mode === "LT" || mode === "GTE" ? 1 : 0);
}
