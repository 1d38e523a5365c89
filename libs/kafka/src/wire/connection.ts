import { connect as connectTcp, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { sleep } from "@millrace/runtime";
import type { Api } from "./api.ts";
import { ByteReader, ProtocolError } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { AuthenticationError, ConnectionError, UnsupportedVersionError } from "./errors.ts";
import { Frames } from "./frames.ts";
import { type ApiVersions, apiVersions } from "./messages/api-versions.ts";
import { plainCredentials, saslAuthenticate } from "./messages/sasl-authenticate.ts";
import { saslHandshake } from "./messages/sasl-handshake.ts";

/** How to reach any broker of the cluster. */
export interface ConnectionSettings {
  readonly clientId: string;
  /** SASL/PLAIN; null: the brokers ask for no credentials. */
  readonly sasl: { readonly username: string; readonly password: string } | null;
  /** TLS, with what `node:tls` takes; null: plain TCP. */
  readonly tls: ConnectionOptions | null;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where and how to speak TLS: the certificate is to be the host's, unless that is an address only. */
export function tlsTarget({ host, port }: Address, tls: ConnectionOptions): ConnectionOptions {
  return { ...(isIP(host) ? {} : { servername: host }), ...tls, host, port };
}

const CONNECT_MS = 5_000;
const REQUEST_MS = 20_000;
const IN_FLIGHT_MAX = 5;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 1_000;

interface Pending {
  readonly api: Api<unknown, unknown>;
  readonly version: number;
  readonly resolve: (response: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** An open connection; what lives on it ends with it. */
interface Line {
  readonly socket: Socket;
  readonly versions: Map<number, { readonly min: number; readonly max: number }>;
  readonly pending: Map<number, Pending>;
  /** When the broker ends the session (SASL), by the monotonic clock. */
  expiresAtMs: number;
}

/**
 * One connection to one broker. It opens itself when something is asked, and anew after a loss: the attempts come with
 * growing, jittered pauses. Answers come in the order of the requests, at most five are awaited at once. A request
 * that is not answered in time ends the connection, because nothing after it could be answered either; whoever asked
 * gets a ConnectionError and asks again.
 */
export class Connection {
  readonly address: Address;
  readonly #settings: ConnectionSettings;
  #line: Promise<Line> | null = null;
  #open: Line | null = null;
  #socket: Socket | null = null;
  readonly #closed = new AbortController();
  #correlation = 0;
  #failures = 0;
  #retryAtMs = 0;
  #throttledUntilMs = 0;
  #waiting: (() => void)[] = [];

  constructor(address: Address, settings: ConnectionSettings) {
    this.address = address;
    this.#settings = settings;
  }

  /** Asks and awaits the answer. Throws a ConnectionError, an AuthenticationError or an UnsupportedVersionError. */
  async request<Q, R>(api: Api<Q, R>, request: Q, timeoutMs: number = REQUEST_MS): Promise<R> {
    const throttledMs = this.#throttledUntilMs - performance.now();
    if (throttledMs > 0) await sleep(throttledMs, this.#closed.signal);
    let line = await this.#opened();
    while (line.pending.size >= IN_FLIGHT_MAX) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      line = await this.#opened();
    }
    const response = await this.#send(line, api, request, timeoutMs);
    const throttleMs = (response as { readonly throttleMs?: number }).throttleMs ?? 0;
    if (throttleMs > 0) this.#throttledUntilMs = performance.now() + throttleMs;
    return response;
  }

  /** Ends the connection for good; requests under way are rejected. */
  close(): void {
    this.#closed.abort();
    if (this.#open !== null) this.#lose(this.#open, new ConnectionError(`${this.#name} was closed`));
    this.#socket?.destroy();
  }

  get #name(): string {
    return `the connection to ${this.address.host}:${this.address.port}`;
  }

  #opened(): Promise<Line> {
    const open = this.#open;
    if (open !== null && open.pending.size === 0 && performance.now() > open.expiresAtMs) {
      this.#lose(open, new ConnectionError(`${this.#name} is renewed`));
    }
    if (this.#line === null) {
      const line = this.#connect();
      this.#line = line;
      line.catch(() => {
        if (this.#line === line) this.#line = null;
      });
    }
    return this.#line;
  }

  async #connect(): Promise<Line> {
    const pauseMs = this.#retryAtMs - performance.now();
    if (pauseMs > 0) await sleep(pauseMs, this.#closed.signal);
    if (this.#closed.signal.aborted) throw new ConnectionError(`${this.#name} was closed`);
    try {
      const line = await this.#dial();
      try {
        await this.#shakeHands(line);
      } catch (error) {
        this.#lose(line, error);
        throw error;
      }
      if (this.#closed.signal.aborted) {
        const error = new ConnectionError(`${this.#name} was closed`);
        this.#lose(line, error);
        throw error;
      }
      if (line.socket.destroyed) throw new ConnectionError(`${this.#name} broke at once`);
      this.#open = line;
      return line;
    } catch (error) {
      this.#pause();
      throw error;
    }
  }

  /** Sets the time before which no new attempt is made. */
  #pause(): void {
    const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 10);
    this.#retryAtMs = performance.now() + backoffMs * (0.5 + Math.random() / 2);
  }

  #dial(): Promise<Line> {
    return new Promise((resolve, reject) => {
      const { host, port } = this.address;
      const { tls } = this.#settings;
      const frames = new Frames((frame) => this.#receive(line, frame));
      const guard = (take: () => void): void => {
        try {
          take();
        } catch (error) {
          this.#lose(line, error);
        }
      };
      const onread = {
        buffer: () => frames.room(),
        callback: (bytes: number) => {
          guard(() => frames.arrived(bytes));
          return true;
        },
      };
      const socket =
        tls === null
          ? connectTcp({ host, port, onread })
          : connectTls(tlsTarget(this.address, tls)).on("data", (chunk: Buffer) => {
              guard(() => frames.take(chunk));
            });
      this.#socket = socket;
      const line: Line = {
        socket,
        versions: new Map(),
        pending: new Map(),
        expiresAtMs: Number.POSITIVE_INFINITY,
      };
      const late = setTimeout(() => socket.destroy(new Error(`no answer in ${CONNECT_MS} ms`)), CONNECT_MS);
      let cause: unknown;
      socket.setNoDelay(true);
      socket.setKeepAlive(true, 30_000);
      socket.once(tls === null ? "connect" : "secureConnect", () => {
        clearTimeout(late);
        resolve(line);
      });
      socket.on("error", (error) => {
        cause = error;
      });
      socket.once("close", () => {
        clearTimeout(late);
        const error = new ConnectionError(`${this.#name} broke`, { cause });
        this.#lose(line, error);
        reject(error);
      });
    });
  }

  /** Learns which versions the broker takes, and shows our credentials. */
  async #shakeHands(line: Line): Promise<void> {
    const versions: ApiVersions = await this.#send(line, apiVersions, null, REQUEST_MS);
    for (const { key, min, max } of versions.apis) line.versions.set(key, { min, max });
    const { sasl } = this.#settings;
    if (sasl === null) return;
    const { errorCode, mechanisms } = await this.#send(
      line,
      saslHandshake,
      { mechanism: "PLAIN" },
      REQUEST_MS,
    );
    if (errorCode !== 0) {
      throw new AuthenticationError(`${this.#name} takes ${mechanisms.join(", ")}, not SASL/PLAIN`);
    }
    const authBytes = plainCredentials(sasl.username, sasl.password);
    const answer = await this.#send(line, saslAuthenticate, { authBytes }, REQUEST_MS);
    if (answer.errorCode !== 0) {
      throw new AuthenticationError(
        `${this.#name} refuses user ${sasl.username}: ${answer.errorMessage ?? `error ${answer.errorCode}`}`,
      );
    }
    // Renewed in a pause between requests, well before the broker would cut it off in the middle of one.
    if (answer.sessionLifetimeMs > 0) line.expiresAtMs = performance.now() + 0.8 * answer.sessionLifetimeMs;
  }

  #send<Q, R>(line: Line, api: Api<Q, R>, request: Q, timeoutMs: number): Promise<R> {
    const version = this.#version(line, api);
    const flexible = api.flexibleFrom !== null && version >= api.flexibleFrom;
    const correlation = this.#correlation;
    this.#correlation = (correlation + 1) & 0x7fff_ffff;
    const writer = new ByteWriter();
    writer.int16(api.key).int16(version).int32(correlation).string(this.#settings.clientId);
    if (flexible) writer.tags();
    api.encode(writer, request, version);
    const parts = writer.parts();
    const size = Buffer.allocUnsafe(4);
    size.writeInt32BE(parts.reduce((sum, part) => sum + part.length, 0));
    return new Promise<R>((resolve, reject) => {
      if (line.socket.destroyed) {
        reject(new ConnectionError(`${this.#name} broke`));
        return;
      }
      const timer = setTimeout(() => {
        // Where this process itself was busy for so long, the answer may lie unread: it is read first.
        setImmediate(() => {
          if (line.pending.has(correlation)) {
            const error = new ConnectionError(`${this.#name}: no answer to ${api.name} in ${timeoutMs} ms`);
            this.#lose(line, error);
          }
        });
      }, timeoutMs);
      line.pending.set(correlation, {
        api: api as Api<unknown, unknown>,
        version,
        resolve: resolve as (response: unknown) => void,
        reject,
        timer,
      });
      line.socket.cork();
      line.socket.write(size);
      for (const part of parts) line.socket.write(part);
      line.socket.uncork();
    });
  }

  #version(line: Line, api: Api<never, unknown>): number {
    if (api.key === apiVersions.key) return apiVersions.versions[0] as number;
    const range = line.versions.get(api.key);
    const version = api.versions.find((one) => range !== undefined && one >= range.min && one <= range.max);
    if (version !== undefined) return version;
    const offered = range === undefined ? "does not know it" : `takes ${range.min} to ${range.max}`;
    throw new UnsupportedVersionError(
      `${api.name} is sent in version ${api.versions.join(" or ")}, but the broker at ${this.address.host}:` +
        `${this.address.port} ${offered}: Kafka 2.8 or later is needed`,
    );
  }

  #receive(line: Line, frame: Buffer): void {
    const reader = new ByteReader(frame);
    const correlation = reader.int32();
    const pending = line.pending.get(correlation);
    if (pending === undefined)
      throw new ProtocolError(`an answer to request ${correlation}, which was not asked`);
    const { api, version } = pending;
    // ApiVersions alone is answered without tags in the header, so that any client can read it.
    if (api.flexibleFrom !== null && version >= api.flexibleFrom) reader.tags();
    const response = api.decode(reader, version);
    line.pending.delete(correlation);
    clearTimeout(pending.timer);
    // A connection that was of use may break: the next attempt need not wait long.
    if (this.#open === line) this.#failures = 0;
    pending.resolve(response);
    this.#waiting.shift()?.();
  }

  #lose(line: Line, error: unknown): void {
    if (this.#open === line) {
      this.#open = null;
      this.#line = null;
      if (!this.#closed.signal.aborted) this.#pause();
    }
    line.socket.destroy();
    for (const { timer, reject } of line.pending.values()) {
      clearTimeout(timer);
      reject(error instanceof ProtocolError ? new ConnectionError(this.#name, { cause: error }) : error);
    }
    line.pending.clear();
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
