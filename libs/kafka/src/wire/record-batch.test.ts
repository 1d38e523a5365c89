import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Output, StreamRecord } from "@millrace/stream";
import fc from "fast-check";
import KafkaJsDecoder from "kafkajs/src/protocol/decoder.js";
import recordEncoder from "kafkajs/src/protocol/recordBatch/record/v0/index.js";
import batchDecoder from "kafkajs/src/protocol/recordBatch/v0/decoder.js";
import batchEncoder from "kafkajs/src/protocol/recordBatch/v0/index.js";
import lz4 from "lz4-napi";
import snappy from "snappyjs";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "./batch-builder.ts";
import { writeInt64 } from "./byte-writer.ts";
import { CorruptBatchError } from "./corrupt-batch-error.ts";
import { crc32c } from "./crc32c.ts";
import { decodeBatches, OldFormatError } from "./decode-batches.ts";
import { AT, LENGTH_FROM } from "./record-batch.ts";
import { SourceHeader } from "./source-header.ts";
import { splitBatch } from "./split-batch.ts";

const TIME_MS = 1_764_000_000_000;
const PRODUCER = { id: 7_000_000_000, epoch: 3 };
const FROM_START = { topic: "t", partition: 2, offset: 0, aborted: [] };

const data = fc.oneof(fc.string({ unit: "grapheme", maxLength: 60 }), fc.uint8Array({ maxLength: 400 }));
const outputs = fc.array(
  fc.record({
    key: fc.option(data),
    value: fc.option(data),
    headers: fc.dictionary(
      fc.string({ maxLength: 12 }).filter((name) => name !== "__proto__"),
      data,
      { maxKeys: 3 },
    ),
  }),
  { minLength: 1, maxLength: 40 },
);

function build(records: readonly Output[], source: SourceHeader | null = null): BatchBuilder {
  const builder = new BatchBuilder();
  for (const record of records) builder.append(record, source, TIME_MS);
  return builder;
}

const encode = (records: readonly Output[]): Buffer => Buffer.from(build(records).finish(PRODUCER, 0));

const hex = (bytes: Uint8Array | string | null): string | null =>
  bytes === null ? null : Buffer.from(bytes as Uint8Array).toString("hex");

const hexHeaders = (headers: Output["headers"] = {}): Record<string, string | null> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, hex(value)]));

const plain = ({ key, value, headers }: Output | StreamRecord): object => ({
  key: hex(key),
  value: hex(value),
  headers: hexHeaders(headers),
});

/** The batch at an offset, with other attributes, and a checksum that is right again. */
function altered(batch: Buffer, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(batch);
  change(bytes);
  bytes.writeUInt32BE(crc32c(bytes, AT.attributes, bytes.length), AT.crc);
  return bytes;
}

const at = (offset: number, batch: Buffer): Buffer =>
  altered(batch, (bytes) => writeInt64(bytes, offset, AT.baseOffset));

describe("a record batch", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(outputs, (written) => {
        const { records, nextOffset } = decodeBatches(encode(written), FROM_START);
        expect(records.map(plain)).toEqual(written.map(plain));
        expect(records.map((one) => one.offset)).toEqual(written.map((_, i) => i));
        expect(
          records.every((one) => one.timestampMs === TIME_MS && one.topic === "t" && one.partition === 2),
        ).toBe(true);
        expect(nextOffset).toBe(written.length);
        for (const { value, bytes, valueStart, valueEnd } of records) {
          expect(value === null ? -1 : hex(value)).toBe(
            valueStart < 0 ? valueEnd : hex(bytes.subarray(valueStart, valueEnd)),
          );
        }
      }),
    );
  });

  it("is read by kafkajs as it was written", async () => {
    await fc.assert(
      fc.asyncProperty(outputs, async (written) => {
        const batch = await batchDecoder(new KafkaJsDecoder(encode(written)));
        expect(batch).toMatchObject({ producerId: String(PRODUCER.id), producerEpoch: 3, firstSequence: 0 });
        expect(batch.records.map(({ key, value }) => [hex(key), hex(value)])).toEqual(
          written.map(({ key, value }) => [hex(key), hex(value)]),
        );
      }),
      { numRuns: 50 },
    );
  });

  it("of kafkajs is read as it was written", async () => {
    await fc.assert(
      fc.asyncProperty(outputs, async (written) => {
        const { buffer } = await batchEncoder.RecordBatch({
          compression: 0,
          firstTimestamp: TIME_MS,
          maxTimestamp: TIME_MS + 99,
          producerId: -1,
          producerEpoch: 0,
          firstSequence: 0,
          lastOffsetDelta: written.length - 1,
          records: written.map(({ key, value, headers }, i) =>
            recordEncoder({
              offsetDelta: i,
              timestampDelta: i,
              key: bytesOf(key),
              value: bytesOf(value),
              headers: buffers(headers),
            }),
          ),
        });
        const { records } = decodeBatches(buffer, FROM_START);
        expect(records.map(plain)).toEqual(written.map(plain));
        expect(records.map((one) => one.timestampMs)).toEqual(written.map((_, i) => TIME_MS + i));
      }),
      { numRuns: 50 },
    );
  });

  it("names the cause of each record in its header, in order", () => {
    const positions = fc.array(
      fc.record({
        topic: fc.constantFrom("flights.events", "a", "é"),
        partition: fc.nat(3),
        offset: fc.oneof(fc.nat(), fc.maxSafeNat()),
        index: fc.nat(),
      }),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(positions, (causes) => {
        const source = new SourceHeader();
        const builder = new BatchBuilder();
        for (const cause of causes) {
          source.set(cause);
          const before = builder.size;
          expect(builder.append({ key: null, value: "v", headers: { h: "1" } }, source, TIME_MS)).toBe(
            builder.size - before,
          );
        }
        const { records } = decodeBatches(builder.finish(PRODUCER, 0), FROM_START);
        expect(records.map((one) => Buffer.from(one.header("mr-source") ?? []).toString())).toEqual(
          causes.map(({ topic, partition, offset, index }) => `${topic}/${partition}/${offset}/${index}`),
        );
        expect(
          records.every((one) => hex(one.header("h") ?? null) === "31" && one.header("other") === undefined),
        ).toBe(true);
      }),
    );
  });

  it("begins before the offset that was asked for: its earlier records are passed over", () => {
    const batches = Buffer.concat([at(100, encode(values(10))), at(110, encode(values(5)))]);
    const { records, nextOffset } = decodeBatches(batches, { ...FROM_START, offset: 107 });
    expect(records.map((one) => one.offset)).toEqual([107, 108, 109, 110, 111, 112, 113, 114]);
    expect(nextOffset).toBe(115);
  });

  it("that is cut off is left for the next time", () => {
    const first = encode(values(3));
    const both = Buffer.concat([first, at(3, encode(values(3)))]);
    for (let length = first.length; length < both.length; length++) {
      expect(decodeBatches(both.subarray(0, length), FROM_START)).toMatchObject({ nextOffset: 3 });
    }
    expect(decodeBatches(first.subarray(0, 5), FROM_START)).toEqual({ records: [], nextOffset: 0 });
  });

  it("with the broker's times has one time", () => {
    const batch = altered(encode(values(2)), (bytes) => {
      bytes.writeInt16BE(0x08, AT.attributes);
      writeInt64(bytes, TIME_MS + 5, AT.maxTimestamp);
    });
    expect(decodeBatches(batch, FROM_START).records.map((one) => one.timestampMs)).toEqual([
      TIME_MS + 5,
      TIME_MS + 5,
    ]);
  });

  it("is cut in two without a change to its records", () => {
    fc.assert(
      fc.property(outputs, (written) => {
        const halves = splitBatch(build(written)).filter((half) => half.count > 0);
        expect(halves.length).toBe(Math.min(2, written.length));
        const read = halves.flatMap((half) =>
          decodeBatches(half.finish(PRODUCER, 0), FROM_START).records.map(plain),
        );
        expect(read).toEqual(written.map(plain));
      }),
    );
  });

  it("is used again after it was sent", () => {
    const builder = build(values(1_000));
    builder.clear();
    builder.append({ key: null, value: "only" }, null, TIME_MS + 1);
    const { records } = decodeBatches(builder.finish(PRODUCER, 1_000), FROM_START);
    expect(records.map((one) => [Buffer.from(one.value as Uint8Array).toString(), one.timestampMs])).toEqual([
      ["only", TIME_MS + 1],
    ]);
  });
});

describe("transactions", () => {
  const marked = (batch: Buffer, attributes: number, producerId: number): Buffer =>
    altered(batch, (bytes) => {
      bytes.writeInt16BE(attributes, AT.attributes);
      writeInt64(bytes, producerId, AT.producerId);
    });
  const mark = (commits: boolean, producerId: number): Buffer =>
    marked(
      encode([{ key: new Uint8Array([0, 0, 0, commits ? 1 : 0]), value: new Uint8Array(6) }]),
      0x30,
      producerId,
    );

  it("of strangers that were aborted are left out, and no mark is a record", () => {
    // Each producer's life: transactions of some batches, each committed or aborted; all are mixed in one log.
    const actions = fc.array(fc.tuple(fc.nat(2), fc.constantFrom("write", "plain", "commit", "abort")), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(actions, fc.nat(60), (log, skip) => {
        const open = new Map<number, { readonly firstOffset: number; readonly offsets: number[] }>();
        const aborted: { producerId: number; firstOffset: number }[] = [];
        const expected: number[] = [];
        const batches: Buffer[] = [];
        for (const [producerId, action] of log) {
          const offset = batches.length;
          const transaction = open.get(producerId);
          if (action === "plain") {
            batches.push(at(offset, encode(values(1))));
            expected.push(offset);
          } else if (action === "write") {
            batches.push(at(offset, marked(encode(values(1)), 0x10, producerId)));
            if (transaction === undefined) open.set(producerId, { firstOffset: offset, offsets: [offset] });
            else transaction.offsets.push(offset);
          } else if (transaction !== undefined) {
            batches.push(at(offset, mark(action === "commit", producerId)));
            open.delete(producerId);
            if (action === "commit") expected.push(...transaction.offsets);
            else aborted.push({ producerId, firstOffset: transaction.firstOffset });
          }
        }
        // As a broker does: nothing of open transactions or after, and only the aborted ones that reach the answer.
        const stable = Math.min(batches.length, ...[...open.values()].map((one) => one.firstOffset));
        const from = Math.min(skip, stable);
        const { records, nextOffset } = decodeBatches(Buffer.concat(batches.slice(from, stable)), {
          ...FROM_START,
          offset: from,
          aborted: aborted.toReversed(),
        });
        expect(records.map((one) => one.offset)).toEqual(
          expected.filter((offset) => offset >= from && offset < stable).toSorted((a, b) => a - b),
        );
        expect(nextOffset).toBe(stable);
      }),
    );
  });
});

describe("broken bytes", () => {
  const messages = (bytes: Buffer): unknown => {
    try {
      const { records } = decodeBatches(bytes, FROM_START);
      return records.map((one) => [
        one.key,
        one.value,
        one.headers,
        one.header("x"),
        one.offset,
        one.timestampMs,
      ]);
    } catch (error) {
      if (error instanceof CorruptBatchError || error instanceof OldFormatError) return error;
      throw error;
    }
  };

  it("are noticed by the checksum", () => {
    const batch = encode(values(20));
    fc.assert(
      fc.property(
        fc.integer({ min: AT.attributes, max: batch.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (i, mask) => {
          const broken = Buffer.from(batch);
          broken[i] = (broken[i] as number) ^ mask;
          expect(messages(broken)).toBeInstanceOf(CorruptBatchError);
        },
      ),
    );
  });

  it("with a right checksum are read or refused, and never more", () => {
    const mutations = fc.array(fc.tuple(fc.double({ min: 0, max: 0.999_999, noNaN: true }), fc.nat(255)), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(outputs, mutations, (written, changes) => {
        const broken = altered(encode(written), (bytes) => {
          const from = AT.attributes;
          for (const [where, value] of changes)
            bytes[from + Math.floor(where * (bytes.length - from))] = value;
        });
        expect(messages(broken)).toBeDefined();
      }),
      { numRuns: 2_000 },
    );
  });

  it("of any kind are read or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(messages(Buffer.from(bytes))).toBeDefined();
      }),
    );
  });

  it("that claim more records than they have are refused", () => {
    const broken = altered(encode(values(3)), (bytes) => bytes.writeInt32BE(2 ** 31 - 1, AT.recordsCount));
    expect(messages(broken)).toBeInstanceOf(CorruptBatchError);
  });

  it("in the formats of Kafka 0.10 and older are named as such", () => {
    for (const magic of [0, 1]) {
      const set = Buffer.alloc(80);
      set.writeInt32BE(68, AT.batchLength);
      set[AT.magic] = magic;
      expect(messages(set)).toMatchObject({ name: "OldFormatError" });
    }
  });
});

describe("compression", () => {
  const packed = (codec: number, records: Buffer, count: number): Buffer => {
    const bytes = Buffer.concat([encode(values(count)).subarray(0, AT.records), records]);
    return altered(bytes, (batch) => {
      batch.writeInt32BE(batch.length - LENGTH_FROM, AT.batchLength);
      batch.writeInt16BE(codec, AT.attributes);
    });
  };
  const xerial = (data: Buffer): Buffer => {
    const block = Buffer.from(snappy.compress(data));
    const header = Buffer.from([
      0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0,
    ]);
    header.writeInt32BE(block.length, 16);
    return Buffer.concat([header, block]);
  };
  const codecs: readonly (readonly [string, number, (data: Buffer) => Buffer])[] = [
    ["gzip", 1, (bytes) => gzipSync(bytes)],
    ["snappy", 2, (bytes) => Buffer.from(snappy.compress(bytes))],
    ["snappy of Java", 2, xerial],
    ["lz4", 3, (bytes) => lz4.compressFrameSync(bytes)],
    ["zstd", 4, (bytes) => zstdCompressSync(bytes)],
  ];

  it.each(codecs)("with %s is undone", (_, codec, compress) => {
    const records = encode(values(500)).subarray(AT.records);
    const read = decodeBatches(packed(codec, compress(records), 500), FROM_START).records;
    expect(read.map(plain)).toEqual(values(500).map(plain));
  });

  it.each(codecs)(
    "with %s of more than a batch can hold is refused before it takes the memory",
    (_, codec, compress) => {
      const bomb = packed(codec, compress(Buffer.alloc(65 * 1024 * 1024)), 1);
      const before = process.memoryUsage().rss;
      expect(() => decodeBatches(bomb, FROM_START)).toThrow(CorruptBatchError);
      expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
    },
  );

  it.each(codecs)("with %s of broken bytes is refused", (_, codec, compress) => {
    const records = compress(encode(values(50)).subarray(AT.records));
    const mutations = fc.array(fc.tuple(fc.nat(records.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(mutations, fc.nat(records.length), (changes, length) => {
        const broken = Buffer.from(records.subarray(0, length));
        for (const [i, value] of changes) if (i < length) broken[i] = value;
        try {
          expect(decodeBatches(packed(codec, broken, 50), FROM_START).records.length).toBeLessThanOrEqual(50);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptBatchError);
        }
      }),
    );
  });

  it("with a codec that is not known is refused", () => {
    expect(() => decodeBatches(packed(5, Buffer.alloc(10), 1), FROM_START)).toThrow("codec 5");
  });
});

function values(count: number): Output[] {
  return Array.from({ length: count }, (_, i) => ({ key: `k${i}`, value: `value ${i}` }));
}

function bytesOf(value: Output["value"]): Buffer | null {
  return value === null ? null : Buffer.from(value as Uint8Array);
}

function buffers(headers: Output["headers"] = {}): Record<string, Buffer> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, bytesOf(value) as Buffer]));
}
