import type { Broker, Consumption } from "@millrace/stream";
import { Administration } from "./administration.ts";
import { ageingClock } from "./ageing-clock.ts";
import { BuilderPool } from "./builder-pool.ts";
import { Cluster } from "./cluster.ts";
import { consume } from "./consume.ts";
import { ensureTopics } from "./ensure-topics.ts";
import { Outbox } from "./outbox.ts";
import { PATIENCE_MS, patiently } from "./patience.ts";
import { readPartition } from "./read.ts";
import { Sender } from "./sender.ts";
import type { KafkaSettings } from "./settings.ts";
import { openWriter } from "./writer.ts";

/** A topic that the brokers do not know may have been made a moment ago; after this it is taken for missing. */
const UNKNOWN_TOPIC_MS = 5_000;

/** Connects lazily; a broker that is away is asked again for about two minutes, then the call rejects. */
export function createKafkaBroker(settings: KafkaSettings): Broker {
  const { clientId, brokers, sasl, tls = null, log, patienceMs = PATIENCE_MS } = settings;
  const library = { clientId, brokers: brokers.map(address), sasl, tls, log };
  const cluster = new Cluster(library.brokers, library, patienceMs);
  const administration = new Administration(library);
  const age = ageingClock();
  const now = (): number => Date.now();
  const outbox = new Outbox(cluster, log, age);
  const builders = new BuilderPool();
  const consumptions = new Set<Consumption>();
  const sender = new Sender(cluster, outbox, builders, now);

  return {
    ensureTopics: (topics, partitions) => ensureTopics(cluster, administration, topics, partitions),

    offsets: async (topic) => {
      await patiently(`topic ${topic}`, () => cluster.refresh([topic]), { patienceMs });
      await patiently(`topic ${topic}`, () => cluster.lookUp(topic), { patienceMs: UNKNOWN_TOPIC_MS });
      return patiently(`offsets of ${topic}`, () => administration.ranges(topic), { patienceMs });
    },

    consume: async (options) => {
      const consumption = consume({ cluster, administration, settings: library }, options);
      consumptions.add(consumption);
      return {
        stop: () => {
          consumptions.delete(consumption);
          return consumption.stop();
        },
      };
    },

    read: (topic, partition, from, until) => readPartition(cluster, topic, partition, from, until),

    writer: (name, partition, topics) =>
      openWriter({ cluster, outbox, builders, now, age }, name, partition, topics),

    send: (records) => sender.send(records),

    stop: async () => {
      await Promise.all([...consumptions].map((consumption) => consumption.stop()));
      outbox.stop();
      cluster.stop();
      administration.stop();
    },
  };
}

function address(text: string): { readonly host: string; readonly port: number } {
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text.trim());
  if (match === null) throw new Error(`"${text}" is no address of a Kafka broker: host:port expected`);
  return { host: match[1] as string, port: Number(match[2]) };
}
