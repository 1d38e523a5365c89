import { ensureKafka, ensureMinio, ensureNats, ensureVersitygw } from "./builds.ts";
import type { CacheOptions } from "./cache.ts";
import type { Connections } from "./connections.ts";
import { type KafkaServer, kafkaConnection, kafkaProcess } from "./kafka.ts";
import { natsConnection, natsProcess } from "./nats.ts";
import type { Ports } from "./ports.ts";
import type { ProcessSpec } from "./process.ts";
import { minioProcess, s3Connection, versitygwProcess } from "./s3.ts";
import type { Secrets } from "./secrets.ts";

/** Which servers to run, and which S3 store. */
export interface WantedServers {
  readonly kafka?: boolean;
  /** Lines of Kafka's configuration that are added to the usual ones, or replace them. */
  readonly kafkaProperties?: (server: KafkaServer) => Readonly<Record<string, string | number>>;
  readonly nats?: boolean;
  readonly s3?: "minio" | "versitygw";
}

/** The processes of the wanted servers, built where the cache lacks them, and how to reach them. */
export async function prepareServers(
  home: string,
  wanted: WantedServers,
  ports: Ports,
  secrets: Secrets,
  options: Partial<CacheOptions>,
): Promise<{ readonly processes: readonly ProcessSpec[]; readonly connections: Partial<Connections> }> {
  const processes: ProcessSpec[] = [];
  let connections: Partial<Connections> = {};
  if (wanted.kafka) {
    const server = {
      home,
      port: ports.kafka,
      controllerPort: ports.kafkaController,
      username: secrets.kafkaUsername,
      password: secrets.kafkaPassword,
    };
    const properties = wanted.kafkaProperties?.(server) ?? {};
    processes.push(await kafkaProcess(await ensureKafka(options), { ...server, properties }));
    connections = { ...connections, kafka: kafkaConnection(server) };
  }
  if (wanted.nats) {
    const server = { home, port: ports.nats, token: secrets.natsToken };
    processes.push(await natsProcess(await ensureNats(options), server));
    connections = { ...connections, nats: natsConnection(server) };
  }
  if (wanted.s3 !== undefined) {
    const server = { home, port: ports.s3, accessKey: secrets.s3AccessKey, secretKey: secrets.s3SecretKey };
    processes.push(
      wanted.s3 === "minio"
        ? await minioProcess(await ensureMinio(options), server)
        : await versitygwProcess(await ensureVersitygw(options), server),
    );
    connections = { ...connections, s3: s3Connection(server) };
  }
  return { processes, connections };
}
