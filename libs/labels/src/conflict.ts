import type { LabelDefinition } from "@millrace/lines";

/** The label that an event has so far. */
export interface KnownLabel {
  readonly label: number;
  /** Event time of the newest label event that said so, ms; -Infinity: silence said so. */
  readonly time: number;
}

/** repeated: it says what is known. conflicting: it says otherwise and does not count. counts: it replaces what is known. */
export type Ruling = "repeated" | "conflicting" | "counts";

/** What a further label of an event means. Of labels of equal event time the one that came last is the last. */
export function rule(conflict: LabelDefinition["conflict"], known: KnownLabel, further: KnownLabel): Ruling {
  if (further.label === known.label) return "repeated";
  switch (conflict) {
    case "first":
      return "conflicting";
    case "last":
      return further.time >= known.time ? "counts" : "conflicting";
    case "positive":
      return further.label === 1 ? "counts" : "conflicting";
  }
}
