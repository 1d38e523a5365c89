/**
 * The Huffman code of header strings, RFC 7541 appendix B. The code is canonical: codes of one length are consecutive
 * in the order of their symbols, and go on from the codes of the length below. So the lengths are the whole table.
 */

/** Length in bits of the code of each octet, and of the end of string last, as a digit of base 36. */
const LENGTHS =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq" +
  "u";

const END_OF_STRING = 256;
const STATES_MAX = 256;
const NIBBLES = 16;

/**
 * The decoder as a machine that eats four bits at a time. `NEXT[state * 16 + nibble]` is the state after it, or -1 where
 * no code begins so; `SYMBOL` the octet that ends within the nibble, or -1: no code is shorter than five bits, so there
 * is at most one. A string may end in the states of `MAY_END`: within less than eight bits, all of them ones.
 */
const NEXT = new Int16Array(STATES_MAX * NIBBLES);
const SYMBOL = new Int16Array(STATES_MAX * NIBBLES);
const MAY_END = new Uint8Array(STATES_MAX);
fillTables();

/**
 * Decodes `bytes[from, to)` into `target`, which has room for `8/5` times as many octets. Answers how many there are,
 * or -1 when it is no Huffman string.
 */
export function decodeHuffman(bytes: Uint8Array, from: number, to: number, target: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number;
    for (let shift = 4; shift >= 0; shift -= 4) {
      const at = state * NIBBLES + ((byte >> shift) & 15);
      const symbol = SYMBOL[at] as number;
      if (symbol >= 0) target[length++] = symbol;
      state = NEXT[at] as number;
      if (state < 0) return -1;
    }
  }
  return MAY_END[state] === 1 ? length : -1;
}

/** Grows the code tree, whose inner nodes are the states, and walks each nibble from each of them. */
function fillTables(): void {
  /** Children of the inner nodes: a node, or the complement of a symbol. */
  const children: [number, number][] = [[0, 0]];
  for (const { symbol, code, length } of canonicalCodes()) {
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const side = ((code >>> bit) & 1) as 0 | 1;
      const branch = children[node] as [number, number];
      if (branch[side] === 0) branch[side] = children.push([0, 0]) - 1;
      node = branch[side];
    }
    (children[node] as [number, number])[(code & 1) as 0 | 1] = ~symbol;
  }
  for (let state = 0; state < STATES_MAX; state++) {
    for (let nibble = 0; nibble < NIBBLES; nibble++) {
      let node = state;
      let symbol = -1;
      for (let bit = 3; bit >= 0 && node >= 0; bit--) {
        node = children[node]?.[((nibble >> bit) & 1) as 0 | 1] as number;
        if (node >= 0) continue;
        symbol = ~node;
        if (symbol !== END_OF_STRING) node = 0;
      }
      NEXT[state * NIBBLES + nibble] = node < 0 ? -1 : node;
      SYMBOL[state * NIBBLES + nibble] = node < 0 ? -1 : symbol;
    }
  }
  for (let node = 0, depth = 0; depth < 8; depth++) {
    MAY_END[node] = 1;
    node = children[node]?.[1] as number;
  }
}

function canonicalCodes(): { readonly symbol: number; readonly code: number; readonly length: number }[] {
  const lengths = LENGTHS.split("").map((digit) => Number.parseInt(digit, 36));
  const symbols = lengths
    .map((_, symbol) => symbol)
    .sort((a, b) => (lengths[a] as number) - (lengths[b] as number) || a - b);
  let code = 0;
  let before = lengths[symbols[0] as number] as number;
  return symbols.map((symbol) => {
    const length = lengths[symbol] as number;
    code <<= length - before;
    before = length;
    return { symbol, code: code++, length };
  });
}
