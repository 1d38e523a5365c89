/** The parts of kafkajs that encode and decode record batches: tests compare ours with them. They have no types. */
declare module "kafkajs/src/protocol/decoder.js" {
  export default class Decoder {
    constructor(bytes: Buffer);
  }
}

declare module "kafkajs/src/protocol/recordBatch/record/v0/index.js" {
  export default function encodeRecord(record: {
    readonly offsetDelta: number;
    readonly timestampDelta: number;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: Readonly<Record<string, Buffer>>;
  }): unknown;
}

declare module "kafkajs/src/protocol/recordBatch/v0/index.js" {
  const encoder: {
    RecordBatch(batch: Readonly<Record<string, unknown>>): Promise<{ readonly buffer: Buffer }>;
  };
  export default encoder;
}

declare module "kafkajs/src/protocol/recordBatch/v0/decoder.js" {
  export default function decodeBatch(decoder: unknown): Promise<{
    readonly records: readonly { readonly key: Buffer | null; readonly value: Buffer | null }[];
  }>;
}
