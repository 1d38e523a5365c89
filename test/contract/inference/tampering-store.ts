import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

/** What becomes of an object on its way. */
export type Tampering =
  | "none"
  /** One bit, another one each time. */
  | "a bit"
  | "a half"
  | "nothing at all"
  | "another object"
  /** The store answers 503. */
  | "an error";

/** An object store whose objects are other ones each time they are read, in front of a real store. */
export class TamperingStore {
  tampering: Tampering = "none";
  /** What "another object" is. */
  other: Uint8Array = new Uint8Array();
  /** Objects read. */
  reads = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(storePort: number): Promise<TamperingStore> {
    const server = createServer();
    const store = new TamperingStore(server);
    server.on("request", (asked, answer) => {
      // The host is part of what the client has signed: it stays.
      const options = { port: storePort, host: "127.0.0.1", method: asked.method, path: asked.url };
      const passed = request({ ...options, headers: asked.headers }, (response) => {
        const isObject = asked.method === "GET" && /[0-9a-f]{64}/.test(asked.url ?? "");
        void buffer(response).then((bytes) => {
          const body = isObject ? store.#tampered(bytes) : bytes;
          if (body === null) return void answer.writeHead(503).end();
          const headers = { ...response.headers };
          if (isObject) headers["content-length"] = String(body.length);
          answer.writeHead(response.statusCode as number, headers).end(body);
        });
      });
      passed.on("error", () => answer.destroy());
      asked.pipe(passed);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return store;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** null: an error. */
  #tampered(bytes: Buffer): Uint8Array | null {
    const read = this.reads++;
    switch (this.tampering) {
      case "none":
        return bytes;
      case "a bit": {
        const at = (read * 7_919) % bytes.length;
        bytes[at] = (bytes[at] as number) ^ (1 << (read % 8));
        return bytes;
      }
      case "a half":
        return bytes.subarray(0, bytes.length / 2);
      case "nothing at all":
        return new Uint8Array();
      case "another object":
        return this.other;
      case "an error":
        return null;
    }
  }
}
