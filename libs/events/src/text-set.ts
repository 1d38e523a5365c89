/** A set of texts that is asked for bytes: the values of a category. */
export class TextSet {
  /** By hash, modulo the number of buckets. */
  readonly #buckets: readonly (readonly Uint8Array[])[];

  constructor(texts: readonly string[]) {
    const utf8 = new TextEncoder();
    const buckets: Uint8Array[][] = Array.from(
      { length: 2 ** Math.ceil(Math.log2(2 * texts.length)) },
      () => [],
    );
    for (const text of texts) {
      const bytes = utf8.encode(text);
      buckets[hash(bytes, 0, bytes.length) & (buckets.length - 1)]?.push(bytes);
    }
    this.#buckets = buckets;
  }

  /** Whether it holds the text whose UTF-8 bytes are `bytes[from..until)`. */
  has(bytes: Uint8Array, from: number, until: number): boolean {
    const bucket = this.#buckets[
      hash(bytes, from, until) & (this.#buckets.length - 1)
    ] as readonly Uint8Array[];
    for (let i = 0; i < bucket.length; i++) {
      const text = bucket[i] as Uint8Array;
      if (text.length !== until - from) continue;
      let at = 0;
      while (at < text.length && text[at] === bytes[from + at]) at++;
      if (at === text.length) return true;
    }
    return false;
  }
}

/** FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo), 32 bits. */
function hash(bytes: Uint8Array, from: number, until: number): number {
  let value = 0x811c9dc5;
  for (let i = from; i < until; i++) value = Math.imul(value ^ (bytes[i] as number), 0x01000193);
  return value ^ (value >>> 15);
}
