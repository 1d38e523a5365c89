import { DefaultDeserializer, DefaultSerializer } from "node:v8";
import type { Checkpoint } from "./checkpoint.ts";

/**
 * Arrays of at least so many bytes are kept apart from the rest: copied once instead of being serialised (a fifth of
 * the time for 50 to 250 MB, and the event loop waits for it), and stored in pieces that stay the same while they do
 * not change.
 */
const LARGE_BYTES = 64 * 1024;
/** Sections begin at multiples of it, so that every type of array can lie there. */
const ALIGNMENT = 64;

const ARRAY_TYPES = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigUint64Array,
  BigInt64Array,
] as const;

const INLINE = 0;
const APART = 1;

/** What Node's serializers call for arrays: documented, but not declared in its types. */
interface HostObjects {
  _writeHostObject(view: ArrayBufferView): void;
  _readHostObject(): ArrayBufferView;
}
const inlineSerializer = DefaultSerializer.prototype as unknown as HostObjects;
const inlineDeserializer = DefaultDeserializer.prototype as unknown as HostObjects;

class HeadSerializer extends DefaultSerializer {
  readonly large: Uint8Array[] = [];

  _writeHostObject(view: ArrayBufferView): void {
    const type = ARRAY_TYPES.findIndex((one) => view.constructor === one);
    if (view.byteLength < LARGE_BYTES || type === -1) {
      this.writeUint32(INLINE);
      return inlineSerializer._writeHostObject.call(this, view);
    }
    this.writeUint32(APART);
    this.writeUint32(type);
    this.writeUint32(this.large.length);
    this.large.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  }
}

class HeadDeserializer extends DefaultDeserializer {
  readonly #large: readonly Uint8Array<ArrayBuffer>[];

  constructor(head: Uint8Array, large: readonly Uint8Array<ArrayBuffer>[]) {
    super(head);
    this.#large = large;
  }

  _readHostObject(): ArrayBufferView {
    if (this.readUint32() === INLINE) return inlineDeserializer._readHostObject.call(this);
    const type = ARRAY_TYPES[this.readUint32()];
    const bytes = this.#large[this.readUint32()];
    if (type === undefined || bytes === undefined)
      throw new RangeError("a checkpoint without one of its arrays");
    return new type(bytes.buffer, bytes.byteOffset, bytes.byteLength / type.BYTES_PER_ELEMENT);
  }
}

/** A copy of a checkpoint as bytes: the head (V8 structured clone), then the large arrays of its state. */
export interface EncodedCheckpoint {
  readonly sections: readonly Uint8Array[];
  /** Gives the memory of the copy back; the sections are not valid afterwards. */
  release(): void;
}

/**
 * Copies checkpoints, synchronously. The memory of a released copy is used again: fresh memory of 250 MB costs 80 to
 * 190 ms, which the event loop would stand still, and the copy into memory that is there 35.
 */
export class CheckpointEncoder {
  #free: Uint8Array | null = null;

  encode(checkpoint: Checkpoint): EncodedCheckpoint {
    const serializer = new HeadSerializer();
    serializer.writeHeader();
    serializer.writeValue(checkpoint);
    const head = serializer.releaseBuffer();
    const room = serializer.large.reduce((sum, { byteLength }) => sum + aligned(byteLength), 0);
    let memory = this.#free;
    this.#free = null;
    // A quarter more than is needed: state grows.
    if (memory === null || memory.length < room || memory.length > 4 * room) {
      memory = Buffer.allocUnsafeSlow(aligned(room + (room >> 2)));
    }
    const copy = memory;
    let at = 0;
    const arrays = serializer.large.map((bytes) => {
      copy.set(bytes, at);
      const section = copy.subarray(at, at + bytes.byteLength);
      at += aligned(bytes.byteLength);
      return section;
    });
    return {
      sections: [head, ...arrays],
      release: () => {
        this.#free = copy;
      },
    };
  }
}

/** Makes a checkpoint of its sections, whose memory becomes its arrays'. Throws when they are not one. */
export function decodeCheckpoint(sections: readonly Uint8Array<ArrayBuffer>[]): Checkpoint {
  const [head, ...large] = sections;
  const deserializer = new HeadDeserializer(head ?? new Uint8Array(0), large);
  deserializer.readHeader();
  return deserializer.readValue() as Checkpoint;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
