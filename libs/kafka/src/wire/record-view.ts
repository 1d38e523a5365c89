import { HEADERS } from "@millrace/contracts";
import type { StreamRecord } from "@millrace/stream";
import { VarintReader } from "./varint-reader.ts";

/** What the records of one batch share. */
export interface BatchView {
  readonly topic: string;
  readonly partition: number;
  /** Holds the records; kept alive by each of them. */
  readonly bytes: Buffer;
  readonly baseOffset: number;
  readonly baseTimestamp: number;
}

const NO_HEADERS: Readonly<Record<string, Uint8Array>> = Object.freeze({});

/** A record where it lies in the fetched bytes. Everything but its places is made when it is asked for. */
export class RecordView implements StreamRecord {
  readonly #batch: BatchView;
  readonly #offsetDelta: number;
  readonly #timestampDelta: number;
  readonly #keyStart: number;
  readonly #keyEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  /** Of the headers' count; -1: there are none. */
  readonly #headersStart: number;

  constructor(
    batch: BatchView,
    offsetDelta: number,
    timestampDelta: number,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number,
    headersStart: number,
  ) {
    this.#batch = batch;
    this.#offsetDelta = offsetDelta;
    this.#timestampDelta = timestampDelta;
    this.#keyStart = keyStart;
    this.#keyEnd = keyEnd;
    this.valueStart = valueStart;
    this.valueEnd = valueEnd;
    this.#headersStart = headersStart;
  }

  get topic(): string {
    return this.#batch.topic;
  }

  get partition(): number {
    return this.#batch.partition;
  }

  get offset(): number {
    return this.#batch.baseOffset + this.#offsetDelta;
  }

  get timestampMs(): number {
    return this.#batch.baseTimestamp + this.#timestampDelta;
  }

  get bytes(): Uint8Array {
    return this.#batch.bytes;
  }

  get key(): Uint8Array | null {
    return this.#keyStart < 0 ? null : this.#batch.bytes.subarray(this.#keyStart, this.#keyEnd);
  }

  get value(): Uint8Array | null {
    return this.valueStart < 0 ? null : this.#batch.bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** Where a name stands twice, the first one counts; a null value is no bytes. */
  get headers(): Readonly<Record<string, Uint8Array>> {
    if (this.#headersStart < 0) return NO_HEADERS;
    const { bytes } = this.#batch;
    const reader = new VarintReader(bytes, this.#headersStart);
    const headers: Record<string, Uint8Array> = {};
    for (let left = reader.varint(); left > 0; left--) {
      const nameEnd = reader.varint() + reader.at;
      const name = bytes.toString("utf8", reader.at, nameEnd);
      reader.at = nameEnd;
      const length = Math.max(0, reader.varint());
      // Written to a plain object, this name would be no header but its prototype.
      if (name !== "__proto__" && !Object.hasOwn(headers, name)) {
        headers[name] = bytes.subarray(reader.at, reader.at + length);
      }
      reader.at += length;
    }
    return headers;
  }

  header(name: string): Uint8Array | undefined {
    if (this.#headersStart < 0) return undefined;
    const { bytes } = this.#batch;
    const wanted = KNOWN_NAMES.get(name) ?? Buffer.from(name);
    const reader = new VarintReader(bytes, this.#headersStart);
    for (let left = reader.varint(); left > 0; left--) {
      const nameLength = reader.varint();
      const nameStart = reader.at;
      reader.at += nameLength;
      const length = Math.max(0, reader.varint());
      if (nameLength === wanted.length && isAt(wanted, bytes, nameStart)) {
        return bytes.subarray(reader.at, reader.at + length);
      }
      reader.at += length;
    }
    return undefined;
  }
}

const KNOWN_NAMES: ReadonlyMap<string, Buffer> = new Map(
  Object.values(HEADERS).map((name) => [name, Buffer.from(name)]),
);

function isAt(wanted: Buffer, bytes: Buffer, start: number): boolean {
  for (let at = 0; at < wanted.length; at++) if (wanted[at] !== bytes[start + at]) return false;
  return true;
}
