import { checkPriority } from "./frame-form.ts";
import { ConnectionError, ERROR, FLAG, protocolError } from "./frames.ts";
import { HeaderDecoder } from "./hpack.ts";

/** Takes the fields of a block that is complete; null: they are more than the limit. */
export type OnFields = (streamId: number, isLast: boolean, fields: readonly string[] | null) => void;

/** A block of more than so many times the largest list of fields is not read. */
const BLOCK_FACTOR = 4;

/** Puts header blocks together from HEADERS and CONTINUATION frames, RFC 9113 section 4.3, and decodes them. */
export class HeaderBlocks {
  readonly #decoder: HeaderDecoder;
  readonly #bytesMax: number;
  readonly #onFields: OnFields;
  #streamId = 0;
  #isLast = false;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(listBytesMax: number, onFields: OnFields) {
    this.#decoder = new HeaderDecoder(listBytesMax);
    this.#bytesMax = BLOCK_FACTOR * listBytesMax;
    this.#onFields = onFields;
  }

  /** The stream whose block is not complete; 0: there is none. */
  get unfinished(): number {
    return this.#streamId;
  }

  /** The payload of HEADERS. Throws a ConnectionError when it is none. */
  begin(flags: number, streamId: number, source: Buffer, payload: number, end: number): void {
    if (streamId % 2 === 0) throw protocolError("HEADERS is on a stream that a client cannot open");
    let from = payload;
    let to = end;
    if ((flags & FLAG.padded) !== 0 && from < end) to -= source[from++] as number;
    if ((flags & FLAG.priority) !== 0) from += 5;
    if (from > to) throw protocolError("HEADERS has less payload than its flags say");
    if ((flags & FLAG.priority) !== 0) checkPriority(streamId, source, from - 5);
    const isLast = (flags & FLAG.endStream) !== 0;
    if ((flags & FLAG.endHeaders) !== 0)
      return this.#onFields(streamId, isLast, this.#decoder.decode(source, from, to));
    this.#streamId = streamId;
    this.#isLast = isLast;
    this.#add(source, from, to);
  }

  /** The payload of CONTINUATION. */
  continue(flags: number, source: Buffer, from: number, to: number): void {
    if (this.#streamId === 0) throw protocolError("CONTINUATION continues nothing");
    this.#add(source, from, to);
    if ((flags & FLAG.endHeaders) === 0) return;
    const streamId = this.#streamId;
    const block = Buffer.concat(this.#pieces, this.#bytes);
    this.#streamId = 0;
    this.#pieces = [];
    this.#bytes = 0;
    this.#onFields(streamId, this.#isLast, this.#decoder.decode(block, 0, block.length));
  }

  #add(source: Buffer, from: number, to: number): void {
    this.#bytes += to - from;
    if (this.#bytes > this.#bytesMax)
      throw new ConnectionError(ERROR.enhanceYourCalm, "a header block is too long");
    this.#pieces.push(Buffer.from(source.subarray(from, to)));
  }
}
