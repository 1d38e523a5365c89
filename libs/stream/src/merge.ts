import type { Batch, StreamRecord } from "./broker.ts";

interface TopicBuffer {
  readonly topic: string;
  readonly batches: { readonly records: readonly StreamRecord[]; next: number; nextOffset: number }[];
  buffered: number;
  /** Where the partition ended when last heard of; -1: not heard of yet. */
  endOffset: number;
  /** Next offset to be added, and next offset to be taken. */
  addOffset: number;
  takeOffset: number;
}

const NOTHING: readonly StreamRecord[] = [];

/**
 * One order over the same partition of several topics: by record timestamp, so that a step that reads two topics
 * sees them advance together, also when it catches up on a backlog. The order is kept approximately (a topic
 * that has nothing yet is waited for briefly, then passed), and a replay may merge otherwise.
 */
export class Merge {
  readonly #buffers: readonly TopicBuffer[];
  readonly #graceMs: number;
  #waitingSinceMs: number | null = null;

  constructor(positions: ReadonlyMap<string, number>, graceMs = 50) {
    this.#graceMs = graceMs;
    this.#buffers = [...positions].map(([topic, position]) => ({
      topic,
      batches: [],
      buffered: 0,
      endOffset: -1,
      addOffset: position,
      takeOffset: position,
    }));
  }

  /** Takes a batch; what lies before the topic's position is dropped. */
  add(batch: Batch): void {
    const buffer = this.#buffer(batch.topic);
    buffer.endOffset = Math.max(buffer.endOffset, batch.endOffset);
    if (batch.nextOffset <= buffer.addOffset) return;
    const { records, nextOffset } = batch;
    let next = 0;
    while (next < records.length && (records[next] as StreamRecord).offset < buffer.addOffset) next++;
    buffer.addOffset = nextOffset;
    const last = buffer.batches.at(-1);
    if (next < records.length) {
      buffer.batches.push({ records, next, nextOffset });
      buffer.buffered += records.length - next;
    } else if (last !== undefined) last.nextOffset = nextOffset;
    else buffer.takeOffset = nextOffset;
  }

  /** Records buffered of one topic. */
  buffered(topic: string): number {
    return this.#buffer(topic).buffered;
  }

  /** Next offset to be taken of one topic. */
  position(topic: string): number {
    return this.#buffer(topic).takeOffset;
  }

  /** ms until `take` no longer waits for a topic; Infinity while it does not wait. */
  graceLeftMs(nowMs: number): number {
    return this.#waitingSinceMs === null
      ? Number.POSITIVE_INFINITY
      : Math.max(0, this.#waitingSinceMs + this.#graceMs - nowMs);
  }

  /**
   * Up to `max` records in order. Empty when there is nothing to give now: a topic that is known to have more is
   * being waited for, for at most the grace time.
   */
  take(max: number, nowMs: number): readonly StreamRecord[] {
    const [only] = this.#buffers;
    if (only !== undefined && this.#buffers.length === 1) return takeRun(only, max);
    const taken: StreamRecord[] = [];
    while (taken.length < max) {
      const buffer = this.#first();
      if (buffer === null || this.#mustWait(nowMs)) break;
      const batch = buffer.batches[0] as TopicBuffer["batches"][number];
      taken.push(batch.records[batch.next] as StreamRecord);
      advance(buffer, batch, 1);
    }
    if (taken.length > 0) this.#waitingSinceMs = null;
    return taken;
  }

  #mustWait(nowMs: number): boolean {
    for (const { buffered, addOffset, endOffset } of this.#buffers) {
      if (buffered > 0 || addOffset >= endOffset) continue;
      this.#waitingSinceMs ??= nowMs;
      return nowMs - this.#waitingSinceMs < this.#graceMs;
    }
    return false;
  }

  /** The buffer whose next record is the oldest; the earlier topic wins a tie. */
  #first(): TopicBuffer | null {
    let first: TopicBuffer | null = null;
    let oldest = Number.POSITIVE_INFINITY;
    for (const buffer of this.#buffers) {
      const batch = buffer.batches[0];
      if (batch === undefined) continue;
      const { timestampMs } = batch.records[batch.next] as StreamRecord;
      if (timestampMs < oldest) {
        oldest = timestampMs;
        first = buffer;
      }
    }
    return first;
  }

  #buffer(topic: string): TopicBuffer {
    const buffer = this.#buffers.find((candidate) => candidate.topic === topic);
    if (buffer === undefined) throw new Error(`a batch of a topic that was not assigned: ${topic}`);
    return buffer;
  }
}

/** Up to `max` records of the first batch, without looking at each. */
function takeRun(buffer: TopicBuffer, max: number): readonly StreamRecord[] {
  const [batch] = buffer.batches;
  if (batch === undefined) return NOTHING;
  const { records, next } = batch;
  const end = Math.min(records.length, next + max);
  advance(buffer, batch, end - next);
  return next === 0 && end === records.length ? records : records.slice(next, end);
}

function advance(buffer: TopicBuffer, batch: TopicBuffer["batches"][number], count: number): void {
  batch.next += count;
  buffer.buffered -= count;
  if (batch.next < batch.records.length) {
    buffer.takeOffset = (batch.records[batch.next - 1] as StreamRecord).offset + 1;
  } else {
    buffer.takeOffset = batch.nextOffset;
    buffer.batches.shift();
  }
}
