import { checkedDurationMs, type RetrainPolicy } from "@millrace/lines";

/**
 * The cause of the first training: it names how often `firstAfter` examples have doubled, so that a first model
 * that was not good enough is tried again with twice as many examples. null: too few examples yet.
 */
export function firstCause(examples: number, policy: RetrainPolicy): string | null {
  if (examples < policy.firstAfter) return null;
  return `first/${policy.firstAfter * 2 ** Math.floor(Math.log2(examples / policy.firstAfter))}`;
}

/**
 * The cause of retraining a stale champion: it names the version and how many times over it is stale, so that a
 * retraining that brought nothing better is tried again one `staleAfter` later. null: not stale.
 */
export function staleCause(
  champion: { readonly version: number; readonly trainedUntilMs: number },
  streamTimeMs: number,
  policy: RetrainPolicy,
): string | null {
  const times = Math.floor((streamTimeMs - champion.trainedUntilMs) / checkedDurationMs(policy.staleAfter));
  return times < 1 ? null : `stale/${champion.version}/${times}`;
}
