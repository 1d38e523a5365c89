import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy on the loopback interface whose connections a test breaks, or stops. */
export class Proxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #stopped = false;
  /** How many connections were broken. */
  broken = 0;

  /** `target`: the port that it passes on to. */
  constructor(target: number) {
    this.#server = createServer((client) => {
      const server = connect({ port: target, host: "127.0.0.1", noDelay: true });
      const pair = [client, server] as const;
      this.#pairs.add(pair);
      for (const [from, to] of [pair, pair.toReversed() as unknown as typeof pair]) {
        from.on("error", () => {});
        from.on("close", () => {
          this.#pairs.delete(pair);
          to.destroy();
        });
        from.pipe(to);
        if (this.#stopped) from.pause();
      }
    });
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
  }

  /** Breaks all connections as a crashed peer does: what was on its way is lost. */
  breakAll(): void {
    for (const [client, server] of this.#pairs) {
      this.broken++;
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Lets nothing through, in either direction, without a word. */
  stopAll(): void {
    this.#stopped = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  resumeAll(): void {
    this.#stopped = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** A port that nobody listens on now, below those that the system hands out. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    return port;
  }
}
