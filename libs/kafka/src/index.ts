/**
 * The Broker port over kafkajs. Guards, each for a fault that was seen or read in the client's source: partitions
 * are always explicit; sends are cut by bytes, because kafkajs makes one record batch per partition; no offsets
 * are committed, they live in checkpoints; positions are checked on arrival, so that a lost seek or a topic cut
 * short by retention is noticed; heartbeats go on while a batch is held.
 */

export { createKafkaBroker, type KafkaSettings, kafkaSettings, RecordsLostError } from "./kafka-broker.ts";
