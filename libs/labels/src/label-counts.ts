/**
 * Every vector that was added waits, or is in exactly one of the first five; every label that was added waits for its
 * vector, or is in `matched` or exactly one of the next five.
 */
export interface LabelCounts {
  /** Vectors whose first example came from a label, and those labels. */
  matched: number;
  /** Vectors whose first example is a negative by silence. */
  silent: number;
  /** Vectors whose label did not come in time. */
  expired: number;
  /** Vectors that were forgotten because more than `waitingMax` waited. */
  givenUp: number;
  /** Vectors whose id was remembered already: left out. */
  duplicates: number;
  /** Labels that changed what was known: one further example each. */
  corrected: number;
  /** Labels that said what was known. */
  repeated: number;
  /** Labels that said otherwise and did not count. */
  conflicting: number;
  /** Labels from after the window, or that came after it, where they may change nothing any more. */
  late: number;
  /** Labels whose vector did not come in time, or that were forgotten because more than `waitingMax` waited. */
  unmatched: number;
  /** Labelled vectors that were forgotten early because more than `waitingMax` were remembered: no loss by itself. */
  forgotten: number;
}

export const NO_COUNTS: LabelCounts = {
  matched: 0,
  silent: 0,
  expired: 0,
  givenUp: 0,
  duplicates: 0,
  corrected: 0,
  repeated: 0,
  conflicting: 0,
  late: 0,
  unmatched: 0,
  forgotten: 0,
};
