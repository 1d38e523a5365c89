import type { Broker, Consumption } from "@millrace/stream";
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
  const cluster = new Cluster(brokers.map(address), { clientId, sasl, tls }, patienceMs);
  const age = ageingClock();
  const now = (): number => Date.now();
  const outbox = new Outbox(cluster, log, age);
  const builders = new BuilderPool();
  const consumptions = new Set<Consumption>();
  const sender = new Sender(cluster, outbox, builders, now);

  return {
    ensureTopics: (topics, partitions) => ensureTopics(cluster, topics, partitions),

    offsets: async (topic) => {
      await patiently(`topic ${topic}`, () => cluster.refresh([topic]), { patienceMs });
      const known = await patiently(`topic ${topic}`, () => cluster.lookUp(topic), {
        patienceMs: UNKNOWN_TOPIC_MS,
      });
      const partitions = known.leaders.map((_, partition) => ({ topic, partition }));
      const [first, end] = await Promise.all([
        cluster.offsets({ at: "first", isolation: "committed", partitions }),
        cluster.offsets({ at: "end", isolation: "committed", partitions }),
      ]);
      return partitions.map(({ partition }, i) => ({
        partition,
        first: first[i] as number,
        end: end[i] as number,
      }));
    },

    consume: async (options) => {
      const consumption = consume(cluster, options, log);
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
    },
  };
}

function address(text: string): { readonly host: string; readonly port: number } {
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text.trim());
  if (match === null) throw new Error(`"${text}" is no address of a Kafka broker: host:port expected`);
  return { host: match[1] as string, port: Number(match[2]) };
}
