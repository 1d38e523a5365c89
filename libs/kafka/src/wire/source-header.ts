import { HEADERS, type SourcePosition } from "@millrace/contracts";
import { sizeOfVarint, writeVarint } from "./varint.ts";

/** The header `mr-source` as bytes: name and `topic/partition/` are kept, the numbers are written as digits. */
export class SourceHeader {
  static readonly #NAME: Buffer = Buffer.from(HEADERS.source);
  /** By topic; a writer's causes are of one partition number. */
  readonly #prefixes = new Map<string, { readonly partition: number; readonly bytes: Buffer }>();
  #topic = "";
  #partition = -1;
  #prefix: Buffer = Buffer.alloc(0);
  #length = 0;
  #offset = 0;
  #index = 0;

  /** Takes the position that is written next. */
  set({ topic, partition, offset, index }: SourcePosition): void {
    if (topic !== this.#topic || partition !== this.#partition) this.#take(topic, partition);
    this.#offset = offset;
    this.#index = index;
    this.#length = this.#prefix.length + digitsOf(offset) + 1 + digitsOf(index);
  }

  /** Bytes that `write` writes. */
  get size(): number {
    return 1 + SourceHeader.#NAME.length + sizeOfVarint(this.#length) + this.#length;
  }

  /** Writes it as a record's header; answers where it ends. */
  write(bytes: Buffer, from: number): number {
    const name = SourceHeader.#NAME;
    let at = writeVarint(bytes, name.length, from);
    for (let i = 0; i < name.length; i++) bytes[at + i] = name[i] as number;
    at = writeVarint(bytes, this.#length, at + name.length);
    const prefix = this.#prefix;
    for (let i = 0; i < prefix.length; i++) bytes[at + i] = prefix[i] as number;
    at = writeDigits(bytes, this.#offset, at + prefix.length);
    bytes[at] = 0x2f;
    return writeDigits(bytes, this.#index, at + 1);
  }

  #take(topic: string, partition: number): void {
    let known = this.#prefixes.get(topic);
    if (known === undefined || known.partition !== partition) {
      known = { partition, bytes: Buffer.from(`${topic}/${partition}/`) };
      this.#prefixes.set(topic, known);
    }
    this.#topic = topic;
    this.#partition = partition;
    this.#prefix = known.bytes;
  }
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; value >= bound; bound *= 10) digits++;
  return digits;
}

function writeDigits(bytes: Buffer, value: number, at: number): number {
  const end = at + digitsOf(value);
  let rest = value;
  let next = end;
  while (rest > 0x7fff_ffff) {
    const tens = Math.floor(rest / 10);
    bytes[--next] = 0x30 + (rest - 10 * tens);
    rest = tens;
  }
  let small = rest | 0;
  while (next > at) {
    const tens = (small / 10) | 0;
    bytes[--next] = 0x30 + (small - 10 * tens);
    small = tens;
  }
  return end;
}
