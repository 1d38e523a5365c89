import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createKafkaBroker } from "@millrace/kafka";
import { ensureKafka, startTestServers } from "@millrace/local";
import { createLog } from "@millrace/runtime";
import { readTopic } from "@millrace/testkit";
import { expect, it } from "vitest";

const RECORDS = 500;

/** A stranger's producer: Java's own client, compressing as it is told. */
const PRODUCER = `
import java.util.Properties;
import org.apache.kafka.clients.producer.*;

public class Producer {
  public static void main(String[] args) throws Exception {
    for (String codec : args[4].split(",")) {
      Properties p = new Properties();
      p.put("bootstrap.servers", args[0]);
      p.put("security.protocol", "SASL_PLAINTEXT");
      p.put("sasl.mechanism", "PLAIN");
      p.put("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\\"" + args[1]
          + "\\" password=\\"" + args[2] + "\\";");
      p.put("compression.type", codec);
      p.put("linger.ms", "50");
      p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
      p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
      try (KafkaProducer<String, String> producer = new KafkaProducer<>(p)) {
        for (int i = 0; i < ${RECORDS}; i++) producer.send(new ProducerRecord<>(args[3], 0, "k", codec + " " + i + " ".repeat(300)));
      }
    }
  }
}
`;

it("reads what Java's producer compressed with each codec", async () => {
  const servers = await startTestServers({ kafka: true });
  const folder = await mkdtemp(join(tmpdir(), "millrace-codecs-"));
  const { brokers, username, password } = servers.kafka;
  const sasl = { username: username ?? "", password: password ?? "" };
  const broker = createKafkaBroker({
    clientId: "test",
    brokers: brokers.split(","),
    sasl,
    log: createLog("test", "silent"),
  });
  try {
    await broker.ensureTopics([{ name: "packed", key: "", owner: "", readers: [], config: {} }], 1);
    const codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    const source = join(folder, "Producer.java");
    await writeFile(source, PRODUCER);
    const libs = join(await ensureKafka(), "libs");
    const classPath = readdirSync(libs)
      .map((jar) => join(libs, jar))
      .join(":");
    const settings = [brokers, sasl.username, sasl.password, "packed", codecs.join(",")];
    await promisify(execFile)("java", ["-cp", classPath, source, ...settings]);

    const values = (await readTopic(broker, "packed")).map(({ value }) =>
      Buffer.from(value as Uint8Array)
        .toString()
        .trim(),
    );
    expect(values).toEqual(
      codecs.flatMap((codec) => Array.from({ length: RECORDS }, (_, i) => `${codec} ${i}`)),
    );
  } finally {
    await broker.stop();
    await servers.stop();
    await rm(folder, { recursive: true });
  }
});
