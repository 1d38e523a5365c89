import { ConnectionError, ERROR, protocolError } from "./frames.ts";
import { decodeHuffman } from "./huffman.ts";

/** Size of a decoder's dynamic table: the protocol's default, which this server never changes. */
const TABLE_BYTES = 4_096;
/** What an entry costs besides its name and value, RFC 7541 section 4.1. */
const ENTRY_BYTES = 32;
/** A ring of slots: a power of two that no table of `TABLE_BYTES` outgrows. */
const SLOTS = TABLE_BYTES / ENTRY_BYTES;

/** RFC 7541 appendix A, from index 1: `name` or `name=value`, between bars. */
const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = (
  ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|" +
  ":status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|" +
  "accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|" +
  "content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|" +
  "cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|" +
  "last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|" +
  "server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
  .split("|")
  .map((entry) => {
    const [name, value] = entry.split("=") as [string, string | undefined];
    return [name, value ?? ""];
  });
const STATIC_NAMES: readonly string[] = STATIC_TABLE.map(([name]) => name);
const STATIC_VALUES: readonly string[] = STATIC_TABLE.map(([, value]) => value);

/** Index by `name=value`, and the first by `name`. */
const STATIC_ENTRIES = new Map<string, number>();
STATIC_TABLE.forEach(([name, value], i) => {
  STATIC_ENTRIES.set(`${name}=${value}`, i + 1);
  if (!STATIC_ENTRIES.has(name)) STATIC_ENTRIES.set(name, i + 1);
});

/** 1: may stand in a field name (RFC 9113 section 8.2: tokens of RFC 9110 in lower case, `:` first only). */
const NAME_OCTETS = new Uint8Array(256);
for (const octet of Buffer.from("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"))
  NAME_OCTETS[octet] = 1;

const COLON = 0x3a;
const SPACE = 0x20;
const TAB = 0x09;
const DELETE = 0x7f;

/**
 * Decodes header blocks, RFC 7541. One per connection: blocks go through it in the order in which they came, also
 * those of refused streams, or the tables of both sides differ.
 */
export class HeaderDecoder {
  readonly #listBytesMax: number;
  /** The dynamic table: entry i, the newest being 0, is in slot `(newest - i) % SLOTS`. */
  readonly #names: string[] = new Array<string>(SLOTS).fill("");
  readonly #values: string[] = new Array<string>(SLOTS).fill("");
  #newest = 0;
  #entries = 0;
  #tableBytes = 0;
  #tableBytesMax: number = TABLE_BYTES;
  /** Where decoding stands: the block, its end and the next octet. */
  #block: Buffer = Buffer.alloc(0);
  #end = 0;
  #at = 0;

  /** `listBytesMax` bounds the decoded fields of a block: octets of names and values, and 32 for each. */
  constructor(listBytesMax: number) {
    this.#listBytesMax = listBytesMax;
  }

  /**
   * The fields of the block in `bytes[from, to)`, each a name and a value; null when they are more than the limit, of
   * which no more is kept. Octets above 127 are read as Latin-1. Throws a ConnectionError when it is no block, and also
   * where a name or value has octets that it must not have: that a request is malformed could be said on its stream, but
   * who sends such fields is no client that ours should be shared with.
   */
  decode(bytes: Buffer, from: number, to: number): readonly string[] | null {
    this.#block = bytes;
    this.#at = from;
    this.#end = to;
    const fields: string[] = [];
    let listBytes = 0;
    while (this.#at < to) {
      const first = bytes[this.#at] as number;
      let name: string;
      let value: string;
      if (first >= 0x80) {
        const index = this.#integer(7);
        name = this.#name(index);
        value = this.#value(index);
      } else if ((first & 0xe0) === 0x20) {
        if (listBytes > 0) throw corrupt("a table size update stands behind a field");
        this.#resize(this.#integer(5));
        continue;
      } else {
        const isIndexed = first >= 0x40;
        const index = this.#integer(isIndexed ? 6 : 4);
        name = index === 0 ? this.#string(true) : this.#name(index);
        value = this.#string(false);
        if (isIndexed) this.#add(name, value);
      }
      listBytes += name.length + value.length + ENTRY_BYTES;
      if (listBytes <= this.#listBytesMax) fields.push(name, value);
    }
    return listBytes > this.#listBytesMax ? null : fields;
  }

  #name(index: number): string {
    return index <= STATIC_NAMES.length
      ? staticEntry(STATIC_NAMES, index)
      : (this.#names[this.#slot(index)] as string);
  }

  #value(index: number): string {
    return index <= STATIC_NAMES.length
      ? staticEntry(STATIC_VALUES, index)
      : (this.#values[this.#slot(index)] as string);
  }

  #slot(index: number): number {
    const age = index - STATIC_NAMES.length - 1;
    if (age >= this.#entries) throw corrupt(`there is no table entry ${index}`);
    return (this.#newest - age) & (SLOTS - 1);
  }

  #add(name: string, value: string): void {
    const bytes = name.length + value.length + ENTRY_BYTES;
    this.#evict(this.#tableBytesMax - bytes);
    if (bytes > this.#tableBytesMax) return;
    this.#newest = (this.#newest + 1) & (SLOTS - 1);
    this.#names[this.#newest] = name;
    this.#values[this.#newest] = value;
    this.#entries += 1;
    this.#tableBytes += bytes;
  }

  #resize(bytesMax: number): void {
    if (bytesMax > TABLE_BYTES) throw corrupt(`the table may have ${TABLE_BYTES} bytes, not ${bytesMax}`);
    this.#tableBytesMax = bytesMax;
    this.#evict(bytesMax);
  }

  #evict(bytesMax: number): void {
    while (this.#entries > 0 && this.#tableBytes > bytesMax) {
      const slot = (this.#newest - this.#entries + 1) & (SLOTS - 1);
      this.#tableBytes -=
        (this.#names[slot] as string).length + (this.#values[slot] as string).length + ENTRY_BYTES;
      this.#entries -= 1;
    }
  }

  /** RFC 7541 section 5.1; four octets of continuation say more than any length that a block can have. */
  #integer(prefixBits: number): number {
    const prefixMax = (1 << prefixBits) - 1;
    let value = this.#octet() & prefixMax;
    if (value < prefixMax) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const octet = this.#octet();
      value += (octet & 0x7f) << shift;
      if (octet < 0x80) return value;
    }
    throw corrupt("an integer is too long");
  }

  #octet(): number {
    if (this.#at >= this.#end) throw corrupt("the block ends within a field");
    return this.#block[this.#at++] as number;
  }

  #string(isName: boolean): string {
    const isHuffman = this.#at < this.#end && (this.#block[this.#at] as number) >= 0x80;
    const length = this.#integer(7);
    const from = this.#at;
    if (length > this.#end - from) throw corrupt("the block ends within a string");
    this.#at += length;
    if (!isHuffman) return text(this.#block, from, this.#at, isName);
    const octets = Buffer.allocUnsafe(Math.ceil((length * 8) / 5));
    const decoded = decodeHuffman(this.#block, from, this.#at, octets);
    if (decoded < 0) throw corrupt("a string is no Huffman code");
    return text(octets, 0, decoded, isName);
  }
}

/** Room for the indices and lengths of a field. */
const FIELD_BYTES_MAX = 12;

/** A header block of literals and static indices, which leaves the peer's dynamic table alone. Names in lower case. */
export function encodeFields(fields: readonly (readonly [name: string, value: string])[]): Uint8Array {
  const size = fields.reduce((sum, [name, value]) => sum + name.length + value.length + FIELD_BYTES_MAX, 0);
  const block = Buffer.allocUnsafe(size);
  let at = 0;
  for (const [name, value] of fields) {
    const entry = STATIC_ENTRIES.get(`${name}=${value}`);
    if (entry !== undefined) {
      at = writeInteger(block, at, 0x80, 7, entry);
      continue;
    }
    const index = STATIC_ENTRIES.get(name) ?? 0;
    at = writeInteger(block, at, 0x00, 4, index);
    if (index === 0) at = writeString(block, at, name);
    at = writeString(block, at, value);
  }
  return block.subarray(0, at);
}

function writeString(block: Buffer, at: number, text: string): number {
  const from = writeInteger(block, at, 0x00, 7, text.length);
  return from + block.write(text, from, "latin1");
}

function writeInteger(
  block: Buffer,
  from: number,
  pattern: number,
  prefixBits: number,
  value: number,
): number {
  const prefixMax = (1 << prefixBits) - 1;
  let at = from;
  if (value < prefixMax) {
    block[at++] = pattern | value;
    return at;
  }
  block[at++] = pattern | prefixMax;
  let rest = value - prefixMax;
  for (; rest >= 0x80; rest >>>= 7) block[at++] = (rest & 0x7f) | 0x80;
  block[at++] = rest;
  return at;
}

function staticEntry(table: readonly string[], index: number): string {
  if (index === 0) throw corrupt("there is no table entry 0");
  return table[index - 1] as string;
}

/** A name or a value of `octets[from, to)`, if it may be one (RFC 9113 section 8.2.1). */
function text(octets: Buffer, from: number, to: number, isName: boolean): string {
  if (isName) checkName(octets, from, to);
  else checkValue(octets, from, to);
  return octets.toString("latin1", from, to);
}

function checkName(octets: Uint8Array, from: number, to: number): void {
  const first = from < to && octets[from] === COLON ? from + 1 : from;
  if (first === to) throw protocolError("a field has no name");
  for (let i = first; i < to; i++) {
    if (NAME_OCTETS[octets[i] as number] === 0)
      throw protocolError("a field name has an octet that it must not have");
  }
}

function checkValue(octets: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const octet = octets[i] as number;
    if ((octet < SPACE && octet !== TAB) || octet === DELETE)
      throw protocolError("a field value has a control character");
  }
  const isPadded = from < to && (isBlank(octets[from]) || isBlank(octets[to - 1]));
  if (isPadded) throw protocolError("a field value begins or ends with white space");
}

function isBlank(octet: number | undefined): boolean {
  return octet === SPACE || octet === TAB;
}

function corrupt(message: string): ConnectionError {
  return new ConnectionError(ERROR.compressionError, message);
}
