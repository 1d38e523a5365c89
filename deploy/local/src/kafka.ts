import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileDurably } from "@millrace/runtime";
import { runCommand } from "./command.ts";
import { passedOn } from "./config.ts";
import type { KafkaConnection } from "./connections.ts";
import { acceptsTcp } from "./probes.ts";
import { type ProcessSpec, superviseProcess } from "./process.ts";

/** A local broker: where its data and files lie, who may come in, and on which loopback ports. */
export interface KafkaServer {
  readonly home: string;
  readonly port: number;
  readonly controllerPort: number;
  readonly username: string;
  readonly password: string;
  /** Lines of its configuration that are added to the usual ones, or replace them. */
  readonly properties?: Readonly<Record<string, string | number>>;
}

/** The largest record batch that the local broker takes. */
const KAFKA_MESSAGE_BYTES_MAX: number = 8 * 1024 * 1024;

const ARCHIVE = "kafka.jsa";
const CHECKPOINT = "bootstrap.checkpoint";

/**
 * The process of a single-node KRaft broker (and controller) that asks its clients for SASL/PLAIN. Writes its
 * configuration and, on the first start, its storage; writes `kcat.conf` and `kafka-client.properties` for people
 * (mode 0600). `folder` is the cache entry.
 */
export async function kafkaProcess(folder: string, server: KafkaServer): Promise<ProcessSpec> {
  const properties = await writeConfiguration(server);
  await formatStorage(folder, server.home);
  const { username, password, port } = server;
  await writeFileDurably(
    join(server.home, "kcat.conf"),
    [
      `bootstrap.servers=127.0.0.1:${port}`,
      "security.protocol=SASL_PLAINTEXT",
      "sasl.mechanism=PLAIN",
      `sasl.username=${username}`,
      `sasl.password=${password}`,
      "",
    ].join("\n"),
  );
  await writeFileDurably(
    join(server.home, "kafka-client.properties"),
    [
      `bootstrap.servers=127.0.0.1:${port}`,
      "security.protocol=SASL_PLAINTEXT",
      "sasl.mechanism=PLAIN",
      `sasl.jaas.config=${PLAIN_LOGIN} username="${username}" password="${password}";`,
      "",
    ].join("\n"),
  );
  return brokerProcess(folder, server, properties, [`-XX:SharedArchiveFile=${ARCHIVE}`]);
}

/** How clients reach the broker. */
export function kafkaConnection(server: KafkaServer): KafkaConnection {
  return { brokers: `127.0.0.1:${server.port}`, username: server.username, password: server.password };
}

/**
 * Completes a cache entry that holds the jars: runs the broker once, to keep the storage's first record and an
 * archive of its loaded classes, which brings a start from about 4 s to 1.6 s. The class path is relative, because
 * Java 17 takes the archive only with the same one and the folder is renamed later.
 */
export async function rehearseKafka(folder: string, server: KafkaServer): Promise<void> {
  const properties = await writeConfiguration(server);
  await runCommand(
    "java",
    [...javaArguments(), "kafka.tools.StorageTool", "format", "-t", randomId(), "-c", properties],
    { cwd: folder },
  );
  await rename(join(dataFolder(server.home), CHECKPOINT), join(folder, CHECKPOINT));
  await copyFile(join(folder, CHECKPOINT), join(dataFolder(server.home), CHECKPOINT));
  const archive = [`-XX:ArchiveClassesAtExit=${ARCHIVE}`];
  const broker = superviseProcess(brokerProcess(folder, server, properties, archive), server.home, () => {});
  try {
    await broker.start();
  } finally {
    await broker.stop();
  }
  await stat(join(folder, ARCHIVE));
}

function brokerProcess(
  folder: string,
  server: KafkaServer,
  properties: string,
  flags: readonly string[],
): ProcessSpec {
  const { PATH = "", HOME = "", LANG = "C.UTF-8" } = passedOn();
  return {
    name: "kafka",
    kind: "server",
    program: "java",
    args: [
      ...flags,
      ...javaArguments(),
      `-Djava.io.tmpdir=${temporaryFolder(server.home)}`,
      "kafka.Kafka",
      properties,
    ],
    cwd: folder,
    env: { PATH, HOME, LANG },
    ready: () => acceptsTcp(server.port),
    stopMs: 20_000,
  };
}

/** One small heap for all instances; the serial collector starts fastest and needs no threads of its own. */
function javaArguments(): string[] {
  return [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dlog4j2.configurationFile=log4j2.properties",
    "-cp",
    "libs/*",
  ];
}

const PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required";

const dataFolder = (home: string): string => join(home, "data", "kafka");
const temporaryFolder = (home: string): string => join(home, "run", "kafka-tmp");

async function writeConfiguration(server: KafkaServer): Promise<string> {
  const { home, port, controllerPort, username, password } = server;
  const jaas = `${PLAIN_LOGIN} username="${username}" password="${password}" user_${username}="${password}";`;
  const file = join(home, "config", "kafka.properties");
  const lines: Record<string, string | number> = {
    "process.roles": "broker,controller",
    "node.id": 1,
    // A fixed voter, not a dynamic quorum: the port may be another one at the next start.
    "controller.quorum.voters": `1@127.0.0.1:${controllerPort}`,
    listeners: `CLIENT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": jaas,
    "listener.name.controller.plain.sasl.jaas.config": jaas,
    "log.dirs": dataFolder(home),
    // After a kill -9 the controller refuses the new broker until the dead one's session is over (9 s by default).
    "broker.session.timeout.ms": 3_000,
    "broker.heartbeat.interval.ms": 500,
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": 0,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "message.max.bytes": KAFKA_MESSAGE_BYTES_MAX,
    "replica.fetch.max.bytes": KAFKA_MESSAGE_BYTES_MAX,
    ...server.properties,
  };
  const text = Object.entries(lines).map(([name, value]) => `${name}=${value}\n`);
  await writeFileDurably(file, text.join(""));
  await rm(temporaryFolder(home), { recursive: true, force: true });
  await mkdir(temporaryFolder(home), { recursive: true, mode: 0o700 });
  return file;
}

/**
 * What `kafka-storage format` does, without two seconds of Java: identity in meta.properties (its presence says
 * formatted, so it comes last), and the first metadata record, which holds no identity.
 */
async function formatStorage(folder: string, home: string): Promise<void> {
  const data = dataFolder(home);
  await mkdir(data, { recursive: true, mode: 0o700 });
  if ((await readdir(data)).includes("meta.properties")) return;
  await writeFileDurably(join(data, CHECKPOINT), await readFile(join(folder, CHECKPOINT)));
  await writeFileDurably(
    join(data, "meta.properties"),
    `version=1\nnode.id=1\ncluster.id=${randomId()}\ndirectory.id=${randomId()}\n`,
  );
}

/** 16 random bytes as Kafka writes them; it refuses ids that begin with a dash. */
function randomId(): string {
  const id = randomBytes(16).toString("base64url");
  return id.startsWith("-") ? randomId() : id;
}
