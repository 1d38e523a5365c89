import type { Batch, StreamRecord } from "./broker.ts";

interface TopicBuffer {
  readonly topic: string;
  readonly batches: { readonly records: readonly StreamRecord[]; next: number }[];
  buffered: number;
  /** Where the partition ended when last heard of; -1: not heard of yet. */
  endOffset: number;
  position: number;
}

/**
 * One order over the same partition of several topics: by record timestamp, so that a step that reads two topics
 * sees them advance together, also when it catches up on a backlog. The order is kept approximately (a topic
 * that has nothing yet is waited for briefly, then passed); a step must not depend on it for correctness.
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
      position,
    }));
  }

  add(batch: Batch): void {
    const buffer = this.#buffer(batch.topic);
    buffer.endOffset = Math.max(buffer.endOffset, batch.endOffset);
    const fresh = batch.records.filter((record) => record.offset >= buffer.position);
    const last = fresh.at(-1);
    if (last === undefined) return;
    buffer.batches.push({ records: fresh, next: 0 });
    buffer.buffered += fresh.length;
    buffer.position = last.offset + 1;
  }

  /** Records buffered of one topic. */
  buffered(topic: string): number {
    return this.#buffer(topic).buffered;
  }

  /**
   * Up to `max` records in order. Empty when there is nothing to give now: a topic that is known to have more is
   * being waited for, for at most the grace time.
   */
  take(max: number, nowMs: number): StreamRecord[] {
    const taken: StreamRecord[] = [];
    while (taken.length < max) {
      const buffer = this.#first();
      if (buffer === null) break;
      if (this.#buffers.length > 1 && this.#mustWait(nowMs)) break;
      const batch = buffer.batches[0] as TopicBuffer["batches"][number];
      taken.push(batch.records[batch.next] as StreamRecord);
      batch.next++;
      buffer.buffered--;
      if (batch.next === batch.records.length) buffer.batches.shift();
    }
    if (taken.length > 0) this.#waitingSinceMs = null;
    return taken;
  }

  #mustWait(nowMs: number): boolean {
    const behind = this.#buffers.some(
      (buffer) => buffer.buffered === 0 && buffer.position < buffer.endOffset,
    );
    if (!behind) return false;
    this.#waitingSinceMs ??= nowMs;
    return nowMs - this.#waitingSinceMs < this.#graceMs;
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
