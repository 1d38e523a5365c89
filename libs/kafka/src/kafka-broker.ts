import { type Log, sleep } from "@millrace/runtime";
import { type Broker, type OutputRecord, type Producer, RecordTooLargeError } from "@millrace/stream";
import kafkajs, { type TopicMessages } from "kafkajs";
import { registerCodecs } from "./codecs.ts";
import { consume } from "./consume.ts";

// kafkajs is CommonJS: Node cannot see its names from outside.
const { Kafka, KafkaJSError, KafkaJSProtocolError, logLevel } = kafkajs;

export interface KafkaSettings {
  readonly clientId: string;
  /** `host:port` each. */
  readonly brokers: readonly string[];
  /** SASL/PLAIN; null: the brokers ask for no credentials. */
  readonly sasl: { readonly username: string; readonly password: string } | null;
  readonly log: Log;
}

/** The settings as every service's configuration holds them. */
export function kafkaSettings(
  service: string,
  config: {
    readonly MILLRACE_KAFKA_BROKERS: string;
    readonly MILLRACE_KAFKA_USERNAME?: string | undefined;
    readonly MILLRACE_KAFKA_PASSWORD?: string | undefined;
  },
  log: Log,
): KafkaSettings {
  const {
    MILLRACE_KAFKA_BROKERS: brokers,
    MILLRACE_KAFKA_USERNAME: username,
    MILLRACE_KAFKA_PASSWORD: password,
  } = config;
  return {
    clientId: `millrace-${service}`,
    brokers: brokers.split(","),
    sasl: username === undefined || password === undefined ? null : { username, password },
    log,
  };
}

export { RecordsLostError } from "./consume.ts";

/** kafkajs makes one record batch per partition and send; brokers refuse batches over 1 MB by default. */
const SEND_BYTES_MAX = 700_000;
const ELECTION_TRIES = 50;
const ELECTION_WAIT_MS = 100;
const RETRY = { initialRetryTime: 100, maxRetryTime: 2_000, retries: 60 };

/** Connects lazily; a broker that is away is retried for about two minutes, then the call rejects. */
export function createKafkaBroker(settings: KafkaSettings): Broker {
  const { log } = settings;
  registerCodecs();
  const kafka = new Kafka({
    clientId: settings.clientId,
    brokers: [...settings.brokers],
    ...(settings.sasl === null ? {} : { sasl: { mechanism: "plain", ...settings.sasl } }),
    connectionTimeout: 3_000,
    requestTimeout: 30_000,
    retry: RETRY,
    logLevel: logLevel.WARN,
    logCreator:
      () =>
      ({ level, log: { message, timestamp: _, logger: __, ...details } }) =>
        level === logLevel.ERROR
          ? log.warn({ kafka: details }, message)
          : log.debug({ kafka: details }, message),
  });
  let admin: ReturnType<typeof kafka.admin> | undefined;
  const connectedAdmin = async (): Promise<ReturnType<typeof kafka.admin>> => {
    admin ??= kafka.admin();
    await admin.connect();
    return admin;
  };

  return {
    ensureTopics: async (topics, partitions) => {
      const client = await connectedAdmin();
      const existing = new Set(await client.listTopics());
      const missing = topics.filter((topic) => !existing.has(topic.name));
      if (missing.length === 0) return;
      await client.createTopics({
        waitForLeaders: true,
        topics: missing.map(({ name, config }) => ({
          topic: name,
          numPartitions: partitions,
          replicationFactor: -1,
          configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
        })),
      });
    },

    offsets: async (topic) => {
      const client = await connectedAdmin();
      const offsets = await throughElections(() => client.fetchTopicOffsets(topic));
      return offsets
        .map(({ partition, low, high }) => ({ partition, first: Number(low), end: Number(high) }))
        .sort((a, b) => a.partition - b.partition);
    },

    consume: (options) => consume(kafka, options, log),

    producer: async (): Promise<Producer> => {
      const producer = kafka.producer({ allowAutoTopicCreation: false, retry: RETRY });
      await producer.connect();
      return {
        send: async (records) => {
          for (const topicMessages of requests(records)) {
            try {
              await producer.sendBatch({ acks: -1, topicMessages });
            } catch (error) {
              throw isTooLarge(error)
                ? new RecordTooLargeError("a record is larger than its topic allows", { cause: error })
                : error;
            }
          }
        },
        stop: () => producer.disconnect(),
      };
    },

    stop: async () => {
      await admin?.disconnect();
    },
  };
}

/** A partition without a leader gets one within moments; asked for offsets, kafkajs gives up at the first refusal. */
async function throughElections<T>(ask: () => Promise<T>): Promise<T> {
  for (let left = ELECTION_TRIES; ; left--) {
    try {
      return await ask();
    } catch (error) {
      if (left === 0 || !(error instanceof KafkaJSProtocolError) || !error.retriable) throw error;
      await sleep(ELECTION_WAIT_MS);
    }
  }
}

/** Cuts records into requests of bounded size; the order within a partition is kept. */
function* requests(records: readonly OutputRecord[]): Generator<TopicMessages[]> {
  let groups = new Map<string, { topic: string; messages: TopicMessages["messages"] }>();
  let bytes = 0;
  for (const { topic, partition, key, value, headers } of records) {
    const size = byteLength(key) + byteLength(value) + headersLength(headers) + 100;
    if (bytes > 0 && bytes + size > SEND_BYTES_MAX) {
      yield [...groups.values()];
      groups = new Map();
      bytes = 0;
    }
    const group = groups.get(topic) ?? { topic, messages: [] };
    groups.set(topic, group);
    group.messages.push({
      partition,
      key: toBuffer(key),
      value: toBuffer(value),
      headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, toBuffer(text)])),
    } as TopicMessages["messages"][number]);
    bytes += size;
  }
  if (bytes > 0) yield [...groups.values()];
}

function byteLength(data: Uint8Array | string | null): number {
  if (data === null) return 0;
  return typeof data === "string" ? Buffer.byteLength(data) : data.length;
}

function headersLength(headers: OutputRecord["headers"]): number {
  let bytes = 0;
  for (const name in headers) bytes += name.length + byteLength(headers[name] ?? null) + 10;
  return bytes;
}

function toBuffer(data: Uint8Array | string | null): Buffer | string | null {
  return data === null || typeof data === "string"
    ? data
    : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function isTooLarge(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (inner instanceof KafkaJSProtocolError && inner.type === "MESSAGE_TOO_LARGE") return true;
    if (!(inner instanceof KafkaJSError)) return false;
  }
  return false;
}
