import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Log } from "@millrace/runtime";
import { type ISocketFactoryArgs, Kafka, logLevel } from "kafkajs";
import { type Address, type ConnectionSettings, tlsTarget } from "./wire/connection.ts";

const CONNECT_MS = 5_000;
/** Heartbeats hang no longer than a session lasts. */
const ANSWER_MS = 8_000;
/** Some seconds: so long a rebalance may wait for the leaders of the partitions that are shared. */
const RETRIES = 15;

export interface LibrarySettings extends ConnectionSettings {
  readonly brokers: readonly Address[];
  readonly log: Log;
}

/**
 * kafkajs, for group membership and administration. It goes on trying in the background, and waits for what is under
 * way when it is told to stop; without sockets it can do neither.
 */
export class Library {
  readonly kafka: Kafka;
  readonly #settings: LibrarySettings;
  readonly #sockets = new Set<Socket>();
  #ended = false;

  constructor(settings: LibrarySettings) {
    const { clientId, sasl, tls, log } = settings;
    this.#settings = settings;
    this.kafka = new Kafka({
      clientId,
      brokers: () => this.#seeds(),
      ...(sasl === null ? {} : { sasl: { mechanism: "plain", ...sasl } }),
      ...(tls === null ? {} : { ssl: tls }),
      connectionTimeout: CONNECT_MS,
      requestTimeout: ANSWER_MS,
      retry: { initialRetryTime: 50, maxRetryTime: 300, retries: RETRIES },
      socketFactory: (target) => this.#dial(target),
      // Whoever asked is told of what fails, and says so.
      logLevel: logLevel.INFO,
      logCreator: () => (entry) => log.debug({ kafkajs: entry.log }, entry.log.message),
    });
  }

  /** Breaks all connections, and makes no others. */
  end(): void {
    this.#ended = true;
    for (const socket of this.#sockets) socket.destroy(new Error("the client has ended"));
  }

  /** In random order, because kafkajs begins with the first one. Without any it gives up at once. */
  #seeds(): string[] {
    if (this.#ended) return [];
    const { brokers } = this.#settings;
    return brokers
      .map(({ host, port }, i) => `${isIP(host) === 6 ? alias(i) : host}:${port}`)
      .toSorted(() => Math.random() - 0.5);
  }

  #dial({ host, port, onConnect }: ISocketFactoryArgs): Socket {
    if (this.#ended) throw new Error("the client has ended");
    const { brokers, tls } = this.#settings;
    const target = { host: brokers.find((_, i) => alias(i) === host)?.host ?? host, port };
    const socket =
      tls === null ? connectTcp(target, onConnect) : connectTls(tlsTarget(target, tls), onConnect);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }
}

/** kafkajs takes what comes before the first colon for the host: an IPv6 address needs another name. */
function alias(seed: number): string {
  return `seed-${seed}.invalid`;
}
