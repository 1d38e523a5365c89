/**
 * Kafka: the `Broker` port over a thin protocol client of our own. `wire/` speaks the protocol (one message a file,
 * record batches in place, a connection); `cluster.ts` knows brokers and leaders; `outbox.ts`, `writer.ts`, `fence.ts`
 * and `sender.ts` write; `fetcher.ts`, `position.ts` and `read.ts` read; `group-member.ts`, `assign.ts` and
 * `holdings.ts` share partitions; `consume.ts` joins the latter two.
 */
export { TopicRecreatedError } from "./cluster.ts";
export { createKafkaBroker } from "./kafka-broker.ts";
export { PatienceError } from "./patience.ts";
export { LogTruncatedError, RecordsLostError } from "./records-lost-error.ts";
export { type KafkaSettings, kafkaSettings } from "./settings.ts";
export { AuthenticationError, KafkaError, UnsupportedVersionError } from "./wire/errors.ts";
