import type { Socket } from "node:net";
import { END_HEADERS, END_STREAM, frame, message, open, request, TYPE } from "./wire.ts";

const FIELDS = request("/millrace.test.v1.Echo/Unary");
const BODY = message(Buffer.alloc(100));
/** A client with work of its own between its calls. */
const PAUSE_MS = 1;

/** A client that does one call after the other on one connection, and measures them. */
export class Victim {
  readonly #socket: Socket;
  #streamId = 1;
  #received: Buffer = Buffer.alloc(0);
  #onAnswer: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#read();
    });
  }

  static async connect(port: number): Promise<Victim> {
    return new Victim(await open(port));
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Does one call and answers how long it took, ms. Throws when the connection ends. */
  async call(): Promise<number> {
    const id = this.#streamId;
    this.#streamId += 2;
    const answered = new Promise<void>((resolve, reject) => {
      this.#onAnswer = resolve;
      this.#socket.once("close", () => reject(new Error("the server has closed the victim's connection")));
    });
    const begin = performance.now();
    const windows = frame(TYPE.windowUpdate, 0, 0, Buffer.from([0, 0, 1, 0]));
    const call = [
      frame(TYPE.headers, END_HEADERS, id, FIELDS),
      frame(TYPE.data, END_STREAM, id, BODY),
      windows,
    ];
    this.#socket.write(Buffer.concat(call));
    await answered;
    this.#socket.removeAllListeners("close");
    return performance.now() - begin;
  }

  #read(): void {
    while (this.#received.length >= 9) {
      const size = 9 + this.#received.readUIntBE(0, 3);
      if (this.#received.length < size) return;
      const isLast = this.#received[3] === TYPE.headers && ((this.#received[4] as number) & END_STREAM) !== 0;
      this.#received = this.#received.subarray(size);
      if (isLast) this.#onAnswer();
    }
  }
}

/** The 99th percentiles of the calls that the victims do within `ms` ms, in turn: the same weather for all. */
export async function percentiles(victims: readonly Victim[], ms: number): Promise<number[]> {
  const latencies = victims.map((): number[] => []);
  const end = performance.now() + ms;
  while (performance.now() < end) {
    for (const [i, victim] of victims.entries()) latencies[i]?.push(await victim.call());
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return latencies.map((all) => all.sort((a, b) => a - b)[Math.floor(all.length * 0.99)] as number);
}
