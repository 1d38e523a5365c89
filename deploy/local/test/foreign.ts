import type { Connections } from "../src/connections.ts";

/** Servers of others, which nobody connects to in these tests: with them, a mesh starts services only. */
export const FOREIGN: Connections = {
  kafka: { brokers: "127.0.0.1:1" },
  nats: { url: "127.0.0.1:1" },
  s3: { url: "http://127.0.0.1:1", accessKey: "access", secretKey: "secret" },
};
