/**
 * Source positions. Each record that a step writes names the input record that caused it in the header
 * `mr-source`. Whoever takes a partition of the step over learns from it what stands in the log already, and does not
 * write it again: readers find each record once and need not look at it.
 */
export interface SourcePosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Counts the outputs of one input record to one topic, from 0. */
  readonly index: number;
}

export const HEADERS = {
  /** `topic/partition/offset/index` of the record that caused this one. */
  source: "mr-source",
  /** Stream name of an accepted event. */
  stream: "mr-stream",
  /** Rejections: the reason's code, a sentence for people, and where the record was: `topic/partition/offset`. */
  reason: "mr-reason",
  detail: "mr-detail",
  origin: "mr-origin",
  /** Set by `millrace rejected replay`: `topic/partition/offset` of the rejection that this record corrects. */
  replayOf: "mr-replay-of",
  /** W3C trace context. */
  traceparent: "traceparent",
} as const;

export function formatPosition(position: SourcePosition): string {
  return `${position.topic}/${position.partition}/${position.offset}/${position.index}`;
}

/** Reads `topic/partition/offset/index`; null when the text is not of that form (a stranger's record). */
export function parsePosition(text: string): SourcePosition | null {
  const match = /^([^/]+)\/(\d+)\/(\d+)\/(\d+)$/.exec(text);
  if (match === null) return null;
  const [, topic, partition, offset, index] = match;
  return {
    topic: topic as string,
    partition: Number(partition),
    offset: Number(offset),
    index: Number(index),
  };
}
