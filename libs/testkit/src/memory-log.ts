import { type OutputRecord, RecordTooLargeError, type StreamRecord } from "@millrace/stream";
import { memoryRecord } from "./memory-record.ts";

/** One partition: records in offset order, with gaps where a writer was opened. */
export class MemoryLog {
  readonly topic: string;
  readonly partition: number;
  readonly #bytesMax: number;
  readonly #retained: number;
  readonly #fences = new Map<string, number>();
  readonly #sequences = new Map<string, number>();
  #records: StreamRecord[] = [];
  first = 0;
  end = 0;

  constructor(topic: string, partition: number, bytesMax: number, retained: number) {
    this.topic = topic;
    this.partition = partition;
    this.#bytesMax = bytesMax;
    this.#retained = retained;
  }

  all(): readonly StreamRecord[] {
    return this.#records;
  }

  /** Up to `max` records of [from, until). */
  slice(from: number, until: number, max: number): readonly StreamRecord[] {
    if (from < this.first)
      throw new Error(`${this.topic}/${this.partition}: records from ${from} on are gone`);
    const start = this.#indexOf(from);
    return this.#records.slice(start, Math.min(start + max, this.#indexOf(until)));
  }

  append(outputs: readonly Pick<OutputRecord, "key" | "value" | "headers">[], timestampMs: number): void {
    const { topic, partition } = this;
    const records = outputs.map((output, i) =>
      memoryRecord({ ...output, topic, partition, timestampMs, offset: this.end + i }),
    );
    if (records.some(({ value }) => value !== null && value.length > this.#bytesMax))
      throw new RecordTooLargeError(`a record of ${topic} is too large`);
    for (const record of records) this.#records.push(record);
    this.end += records.length;
    if (this.#records.length > 2 * this.#retained) {
      this.#records = this.#records.slice(-this.#retained);
      this.first = this.#records[0]?.offset ?? this.end;
    }
  }

  /** Refuses a writer's older epochs from now on, and marks it in the log. */
  fence(writer: string, epoch: number): void {
    this.#fences.set(writer, Math.max(epoch, this.#fences.get(writer) ?? 0));
    this.end++;
  }

  admits(writer: string, epoch: number): boolean {
    return epoch >= (this.#fences.get(writer) ?? 0);
  }

  /** Whether a writer's request of that number is new: it may be sent again after a lost acknowledgement. */
  isNew(writer: string, sequence: number): boolean {
    const isNew = sequence > (this.#sequences.get(writer) ?? 0);
    if (isNew) this.#sequences.set(writer, sequence);
    return isNew;
  }

  /** Index of the first record at or behind an offset. */
  #indexOf(offset: number): number {
    let [low, high] = [0, this.#records.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#records[middle] as StreamRecord).offset < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
