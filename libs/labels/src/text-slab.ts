import type { IdBytes } from "@millrace/contracts";

/** `IdBytes` to be filled in. */
export interface IdPlace {
  bytes: Uint8Array;
  start: number;
  end: number;
}

/** An address is the number of a page, shifted, and the place in the page in words of 4 bytes. */
const PAGE_BITS = 14;
const PAGE_WORDS = 1 << PAGE_BITS;
/** Cells of up to so many words come in each even size, larger ones in powers of two. */
const EVEN_WORDS_MAX = 64;
const SIZES = EVEN_WORDS_MAX / 2 + 26;

/** As it is: live arrays. */
export interface TextSlabSnapshot {
  readonly pages: readonly Int32Array[];
  readonly free: Int32Array;
}

/**
 * Short texts as UTF-8 in cells of some sizes, each behind its length in bytes. Freed cells are used again for texts of
 * the same size, the last freed first; a cell's first word then holds the address of the next free one.
 */
export class TextSlab {
  readonly #pages: Int32Array[];
  /** The same memory. */
  readonly #bytes: Uint8Array[];
  /** First free cell by size; -1: none. */
  readonly #free: Int32Array;

  constructor(snapshot: TextSlabSnapshot | null) {
    this.#pages = [...(snapshot?.pages ?? [])];
    this.#bytes = this.#pages.map(bytesOf);
    this.#free = snapshot?.free ?? new Int32Array(SIZES).fill(-1);
  }

  get bytes(): number {
    return this.#pages.reduce((sum, page) => sum + page.byteLength, 0);
  }

  /** Keeps a text; answers its address. */
  put({ bytes, start, end }: IdBytes): number {
    const length = end - start;
    const size = sizeOf(length);
    if ((this.#free[size] as number) < 0) this.#addPage(size);
    const address = this.#free[size] as number;
    const page = this.#pages[address >>> PAGE_BITS] as Int32Array;
    const word = address & (PAGE_WORDS - 1);
    this.#free[size] = page[word] as number;
    page[word] = length;
    const to = this.#bytes[address >>> PAGE_BITS] as Uint8Array;
    for (let i = start, at = 4 * word + 4; i < end; i++, at++) to[at] = bytes[i] as number;
    return address;
  }

  /** Fills in where the text lies. Its bytes stay as they are until another is put, though it may be freed. */
  find(address: number, place: IdPlace): void {
    const word = address & (PAGE_WORDS - 1);
    const page = address >>> PAGE_BITS;
    place.bytes = this.#bytes[page] as Uint8Array;
    place.start = 4 * word + 4;
    place.end = place.start + ((this.#pages[page] as Int32Array)[word] as number);
  }

  free(address: number): void {
    const page = this.#pages[address >>> PAGE_BITS] as Int32Array;
    const word = address & (PAGE_WORDS - 1);
    const size = sizeOf(page[word] as number);
    page[word] = this.#free[size] as number;
    this.#free[size] = address;
  }

  snapshot(): TextSlabSnapshot {
    return { pages: [...this.#pages], free: this.#free };
  }

  /** A page of cells of one size; what is larger than a page has one of its own. */
  #addPage(size: number): void {
    const words = wordsOf(size);
    const cells = Math.max(1, Math.floor(PAGE_WORDS / words));
    const page = new Int32Array(Math.max(PAGE_WORDS, words));
    const first = this.#pages.length << PAGE_BITS;
    for (let i = 0; i < cells; i++) page[i * words] = i + 1 < cells ? first + (i + 1) * words : -1;
    this.#pages.push(page);
    this.#bytes.push(bytesOf(page));
    this.#free[size] = first;
  }
}

/** The number of the size that holds so many bytes and their length. */
function sizeOf(bytes: number): number {
  const words = (bytes + 7) >>> 2;
  const pairs = (words + 1) >>> 1;
  return words <= EVEN_WORDS_MAX ? pairs : EVEN_WORDS_MAX / 2 + Math.ceil(Math.log2(words / EVEN_WORDS_MAX));
}

function wordsOf(size: number): number {
  return size <= EVEN_WORDS_MAX / 2 ? 2 * size : EVEN_WORDS_MAX * 2 ** (size - EVEN_WORDS_MAX / 2);
}

const bytesOf = (page: Int32Array): Uint8Array =>
  new Uint8Array(page.buffer, page.byteOffset, page.byteLength);
