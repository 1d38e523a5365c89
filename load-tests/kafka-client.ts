import type { KafkaConnection } from "@millrace/local";
import kafkajs, { type Kafka } from "kafkajs";

/** A plain kafkajs client, which sees Kafka as any stranger does. */
export function kafkaClient({ brokers, username, password }: KafkaConnection): Kafka {
  return new kafkajs.Kafka({
    clientId: "load-tests",
    brokers: brokers.split(","),
    ...(username !== undefined && { sasl: { mechanism: "plain", username, password: password ?? "" } }),
    logLevel: kafkajs.logLevel.NOTHING,
  });
}
