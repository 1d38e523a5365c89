import { type Log, sleep } from "@millrace/runtime";
import { connect, headers, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";

/** Called with the announced object and the W3C traceparent sent with it (empty when there was none). */
export type OnAnnouncement = (payload: Readonly<Record<string, unknown>>, traceparent: string) => void;

/** Says "look again" to whoever listens, at most once. No method throws or waits when NATS is away. */
export interface Announcer {
  /** Sends the payload as JSON; while there is no connection it is dropped. */
  publish(subject: string, payload: object, traceparent?: string): void;
  /** Listens from the next connection on, and again after each reconnection. Returns how to end it. */
  subscribe(subject: string, onMessage: OnAnnouncement): () => void;
  connected(): boolean;
  /** Sends what was published and closes. May be called more than once. */
  stop(): Promise<void>;
}

export interface AnnouncerOptions {
  /** host:port, or several separated by commas; `nats://` and `tls://` are understood. */
  readonly url: string;
  readonly token: string | undefined;
  readonly log: Log;
}

const CONNECT_TIMEOUT_MS = 2_000;
const RETRY_MS = 500;
const FLUSH_MS_MAX = 1_000;

interface Listener {
  readonly subject: string;
  readonly onMessage: OnAnnouncement;
  subscription: Subscription | null;
}

/** Connects in the background, and again whenever the connection ends, until `stop`. */
export function createAnnouncer({ url, token, log }: AnnouncerOptions): Announcer {
  const stopping = new AbortController();
  const listeners = new Set<Listener>();
  let connection: NatsConnection | null = null;

  const listen = (nats: NatsConnection, listener: Listener): void => {
    listener.subscription = nats.subscribe(listener.subject, {
      callback: (error, message) => {
        if (error === null) deliver(listener, message, log);
        else log.warn({ err: error, subject: listener.subject }, "NATS refuses the subscription");
      },
    });
  };

  // The client's own reconnection is off: it would hold back what is published meanwhile without a bound, and
  // give up for good when the token is refused, for example because NATS restarts with another one.
  const stayConnected = async (): Promise<void> => {
    let reported = false;
    while (!stopping.signal.aborted) {
      try {
        const nats = await connect({
          servers: url.split(",").map((server) => server.trim()),
          ...(token === undefined ? {} : { token }),
          timeout: CONNECT_TIMEOUT_MS,
          reconnect: false,
          pingInterval: 5_000,
        });
        if (stopping.signal.aborted) return await nats.close();
        connection = nats;
        for (const listener of listeners) listen(nats, listener);
        log.info({ server: nats.getServer() }, "NATS connected");
        reported = false;
        const error = await nats.closed();
        if (!stopping.signal.aborted) log.warn({ err: error ?? undefined }, "NATS connection lost");
      } catch (error) {
        if (!reported) log.warn({ err: error, url }, "NATS is away: announcements wait for the next poll");
        reported = true;
      }
      connection = null;
      await sleep(RETRY_MS, stopping.signal);
    }
  };
  const running = stayConnected();

  return {
    publish: (subject, payload, traceparent = "") => {
      if (connection === null || connection.isClosed()) return;
      try {
        const metadata = headers();
        if (traceparent !== "") metadata.set("traceparent", traceparent);
        connection.publish(subject, JSON.stringify(payload), { headers: metadata });
      } catch (error) {
        log.warn({ err: error, subject }, "NATS announcement was not sent");
      }
    },
    subscribe: (subject, onMessage) => {
      const listener: Listener = { subject, onMessage, subscription: null };
      listeners.add(listener);
      if (connection !== null && !connection.isClosed()) listen(connection, listener);
      return () => {
        listeners.delete(listener);
        listener.subscription?.unsubscribe();
      };
    },
    connected: () => connection !== null && !connection.isClosed(),
    stop: async () => {
      stopping.abort();
      const open = connection;
      if (open !== null && !open.isClosed()) {
        await Promise.race([open.flush().catch(() => {}), sleep(FLUSH_MS_MAX)]);
        await open.close();
      }
      await running;
    },
  };
}

function deliver(listener: Listener, message: Msg, log: Log): void {
  try {
    const payload = message.json<unknown>();
    if (payload === null || typeof payload !== "object") throw new TypeError("not a JSON object");
    listener.onMessage(
      payload as Readonly<Record<string, unknown>>,
      message.headers?.get("traceparent") ?? "",
    );
  } catch (error) {
    log.warn({ err: error, subject: listener.subject }, "NATS announcement was not understood");
  }
}
