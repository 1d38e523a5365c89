import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { ByteReader, readInt64 } from "../src/wire/byte-reader.ts";
import { ByteWriter } from "../src/wire/byte-writer.ts";
import { decodeBatches } from "../src/wire/decode-batches.ts";
import { AT } from "../src/wire/record-batch.ts";

/** What a broker does with a request: answers it, keeps silent, or breaks the connection. */
export type Reply = ByteWriter | "silence" | "break";
export type Handler = (request: ByteReader, version: number) => Reply | Promise<Reply>;

export const API = {
  produce: 0,
  fetch: 1,
  listOffsets: 2,
  metadata: 3,
  findCoordinator: 10,
  saslHandshake: 17,
  apiVersions: 18,
  initProducerId: 22,
  addPartitionsToTxn: 24,
  endTxn: 26,
  saslAuthenticate: 36,
} as const;

/** First version with tagged fields, by API. */
const FLEXIBLE_FROM: Readonly<Record<number, number>> = { 0: 9, 1: 12, 3: 9, 22: 2 };

/**
 * A broker whose answers a test holds in its hand: it listens on a real socket and, as Kafka does, takes the requests of
 * a connection one after the other.
 */
export class FakeBroker {
  readonly handlers: Map<number, Handler> = new Map();
  /** API keys in the order in which they were asked. */
  readonly asked: number[] = [];
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(tls: TlsOptions | null = null) {
    const serve = (socket: Socket): void => this.#serve(socket);
    this.#server = tls === null ? createServer(serve) : createTlsServer(tls, serve);
    this.handlers.set(API.apiVersions, () => versions({ min: 0, max: 99 }));
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    return this;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.breakConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
    let bytes = Buffer.alloc(0);
    let done: Promise<void> = Promise.resolve();
    socket.on("data", (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE()) {
        const frame = bytes.subarray(4, 4 + bytes.readInt32BE());
        bytes = bytes.subarray(4 + frame.length);
        done = done.then(() => this.#answer(socket, new ByteReader(frame)));
      }
    });
  }

  async #answer(socket: Socket, request: ByteReader): Promise<void> {
    const key = request.int16();
    const version = request.int16();
    const correlation = request.int32();
    request.nullableString();
    const flexible = version >= (FLEXIBLE_FROM[key] ?? 99);
    if (flexible) request.tags();
    this.asked.push(key);
    const handler = this.handlers.get(key);
    const reply = handler === undefined ? "break" : await handler(request, version);
    if (reply === "break") socket.destroy();
    if (typeof reply === "string" || socket.destroyed) return;
    const header = new ByteWriter().int32(correlation);
    if (flexible) header.tags();
    const body = Buffer.concat([...header.parts(), ...reply.parts()]);
    const size = Buffer.alloc(4);
    size.writeInt32BE(body.length);
    socket.write(Buffer.concat([size, body]));
  }
}

/** An answer to ApiVersions that names every API with the same range. */
export function versions(range: { readonly min: number; readonly max: number }): ByteWriter {
  const writer = new ByteWriter().int16(0);
  return writer.array(
    Array.from({ length: 70 }, (_, key) => key),
    (key) => {
      writer.int16(key).int16(range.min).int16(range.max);
    },
  );
}

/** A batch as it came. */
export interface Written {
  readonly values: readonly string[];
  readonly epoch: number;
  readonly sequence: number;
}

/** Topics with one partition each, on some fake brokers, with the producers' rules of Kafka. */
export class FakeCluster {
  readonly brokers: FakeBroker[] = [];
  /** By topic: its id, and the number of the broker that leads it (-1: none). */
  readonly topics: Map<string, { id: string; leader: number }> = new Map();
  readonly log: Map<string, Written[]> = new Map();
  /** Answered to the next batches instead of taking them: a code, or an acknowledgement that is lost. */
  readonly refusals: (number | "lose the acknowledgement")[] = [];
  /** Largest batch that is taken. */
  bytesMax: number = Number.POSITIVE_INFINITY;
  throttleMs = 0;
  /** Newest epoch of the one transactional id. */
  epoch = -1;
  readonly initialized: { readonly epoch: number; readonly expected: number }[] = [];
  #strangers = 0;
  readonly #next = new Map<string, { epoch: number; sequence: number; last: number }>();

  async start(brokers: number): Promise<this> {
    for (let number = 0; number < brokers; number++) this.brokers.push(await this.#broker(number).start());
    return this;
  }

  addTopic(name: string, leader = 0): void {
    this.topics.set(name, { id: Buffer.from(name.padEnd(16, "-")).toString("hex"), leader });
    this.log.set(name, []);
  }

  get addresses(): { readonly host: string; readonly port: number }[] {
    return this.brokers.map(({ port }) => ({ host: "127.0.0.1", port }));
  }

  values(topic: string): string[] {
    return this.log.get(topic)?.flatMap((batch) => [...batch.values]) ?? [];
  }

  async stop(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.stop()));
  }

  #broker(number: number): FakeBroker {
    const broker = new FakeBroker();
    broker.handlers.set(API.metadata, (request) => this.#metadata(request));
    broker.handlers.set(API.produce, (request) => this.#produce(request, number));
    broker.handlers.set(API.findCoordinator, () => {
      const { host, port } = this.addresses[0] as { host: string; port: number };
      return new ByteWriter().int32(0).int16(0).nullableString(null).int32(0).string(host).int32(port);
    });
    broker.handlers.set(API.initProducerId, (request) => this.#initProducerId(request));
    broker.handlers.set(API.addPartitionsToTxn, (request) => {
      request.string();
      request.int64();
      request.int16();
      const topics = request.array(() => ({
        name: request.string(),
        _: request.array(() => request.int32()),
      }));
      const writer = new ByteWriter().int32(0);
      return writer.array(topics, ({ name }) => {
        writer.string(name).int32(1).int32(0).int16(0);
      });
    });
    broker.handlers.set(API.endTxn, () => new ByteWriter().int32(0).int16(0));
    broker.handlers.set(API.listOffsets, (request) => {
      request.int32();
      request.int8();
      const topics = request.array(() => {
        const name = request.string();
        request.array(() => [request.int32(), request.int32(), request.int64()]);
        return name;
      });
      const writer = new ByteWriter().int32(0);
      return writer.array(topics, (name) => {
        writer.string(name).int32(1).int32(0).int16(0).int64(-1).int64(this.values(name).length).int32(0);
      });
    });
    return broker;
  }

  #metadata(request: ByteReader): ByteWriter {
    const names = request.compactArray(() => {
      request.uuid();
      const name = request.compactString();
      request.tags();
      return name;
    });
    const writer = new ByteWriter().int32(0);
    writer.compactArray(this.addresses, ({ host, port }) => {
      writer
        .int32(this.addresses.findIndex((one) => one.port === port))
        .compactString(host)
        .int32(port);
      writer.compactNullableString(null).tags();
    });
    writer.compactNullableString("cluster").int32(0);
    writer.compactArray(names, (name) => {
      const topic = this.topics.get(name);
      writer
        .int16(topic === undefined ? 3 : 0)
        .compactString(name)
        .uuid(topic?.id ?? "0".repeat(32))
        .boolean(false);
      writer.compactArray(topic === undefined ? [] : [topic], ({ leader }) => {
        writer
          .int16(leader < 0 ? 5 : 0)
          .int32(0)
          .int32(leader)
          .int32(0);
        for (let list = 0; list < 3; list++) writer.compactArray([], () => {});
        writer.tags();
      });
      writer.int32(0).tags();
    });
    return writer.int32(0).tags();
  }

  #produce(request: ByteReader, broker: number): Reply {
    request.compactNullableString();
    request.int16();
    request.int32();
    let lost = false;
    const results: { readonly id: string; readonly code: number }[] = [];
    request.compactArray(() => {
      const id = request.uuid();
      request.compactArray(() => {
        request.int32();
        const batch = Buffer.from(request.compactByteArray());
        request.tags();
        const refusal = this.refusals.shift();
        const code = typeof refusal === "number" ? refusal : this.#take(id, broker, batch);
        lost ||= refusal === "lose the acknowledgement";
        results.push({ id, code });
      });
      request.tags();
    });
    if (lost) return "break";
    const writer = new ByteWriter();
    writer.compactArray(results, ({ id, code }) => {
      writer.uuid(id).compactArray([code], () => {
        writer.int32(0).int16(code).int64(0).int64(-1).int64(0);
        writer
          .compactArray([], () => {})
          .compactNullableString(null)
          .tags();
      });
      writer.tags();
    });
    return writer.int32(this.throttleMs).tags();
  }

  /** As a leader: the codes of Kafka for what cannot be. */
  #take(id: string, broker: number, batch: Buffer): number {
    const [name, topic] = [...this.topics].find(([, one]) => one.id === id) ?? [];
    if (name === undefined || topic === undefined) return 100;
    if (topic.leader !== broker) return 6;
    if (batch.length > this.bytesMax) return 10;
    const epoch = batch.readInt16BE(AT.producerEpoch);
    const sequence = batch.readInt32BE(AT.baseSequence);
    const key = `${name} ${readInt64(batch, AT.producerId)}`;
    const state = this.#next.get(key) ?? { epoch, sequence: 0, last: -1 };
    if (epoch < state.epoch) return 47;
    if (epoch === state.epoch && sequence === state.last) return 46;
    if (sequence !== (epoch === state.epoch ? state.sequence : 0)) return 45;
    const { records } = decodeBatches(batch, { topic: name, partition: 0, offset: 0, aborted: [] });
    this.#next.set(key, { epoch, sequence: sequence + records.length, last: sequence });
    const values = records.map((record) => Buffer.from(record.value ?? []).toString());
    this.log.get(name)?.push({ values, epoch, sequence });
    return 0;
  }

  #initProducerId(request: ByteReader): ByteWriter {
    const transactional = request.compactNullableString() !== null;
    request.int32();
    request.int64();
    const expected = request.int16();
    const fenced = transactional && expected >= 0 && expected !== this.epoch;
    if (transactional && !fenced) this.epoch++;
    const epoch = transactional ? this.epoch : 0;
    if (transactional) this.initialized.push({ epoch, expected });
    return new ByteWriter()
      .int32(0)
      .int16(fenced ? 90 : 0)
      .int64(transactional ? 1 : 1_000 + this.#strangers++)
      .int16(epoch)
      .tags();
  }
}
