/** How a client reaches Kafka; user and password where the brokers ask for SASL/PLAIN. */
export interface KafkaConnection {
  /** `host:port`, separated by commas. */
  readonly brokers: string;
  readonly username?: string;
  readonly password?: string;
}

/** How a client reaches NATS. */
export interface NatsConnection {
  /** `host:port`. */
  readonly url: string;
  readonly token?: string;
}

/** How a client reaches the S3 store. */
export interface S3Connection {
  /** `http://host:port`. */
  readonly url: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

/** How a client reaches all three servers. */
export interface Connections {
  readonly kafka: KafkaConnection;
  readonly nats: NatsConnection;
  readonly s3: S3Connection;
}
