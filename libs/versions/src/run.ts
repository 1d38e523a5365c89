/**
 * The states of a training run, in order. The last four are its end; of a version that is `rolling-out` the history of
 * the aspired set tells the rest.
 */
export const RUN_STATES = [
  "admitted",
  "building",
  "training",
  "judging",
  "promoted",
  "rolling-out",
  "rejected",
  "failed",
] as const;
export type RunState = (typeof RUN_STATES)[number];

const RANK: Readonly<Record<RunState, number>> = {
  admitted: 0,
  building: 1,
  training: 2,
  judging: 3,
  promoted: 4,
  "rolling-out": 4,
  rejected: 4,
  failed: 4,
};

export function isRunState(text: string): text is RunState {
  return (RUN_STATES as readonly string[]).includes(text);
}

/** Whether a run in this state is at its end. */
export function hasEnded(state: RunState): boolean {
  return RANK[state] === RANK.promoted;
}

/**
 * Whether a run may go from one state to the other. It goes forward, and may leave out a stage (a baseline is
 * not trained). A run that has not ended may go back to `building`: a trainer that restarts begins it anew.
 * Staying is allowed, so that a repeated update does no harm; an end is final.
 */
export function mayBecome(from: RunState, to: RunState): boolean {
  if (from === to) return true;
  if (hasEnded(from)) return false;
  return RANK[to] > RANK[from] || to === "building";
}
