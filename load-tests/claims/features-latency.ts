import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestServers } from "@millrace/local";
import { type AgeReader, type Ages } from "../age-reader.ts";
import { startChild } from "../child.ts";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { kafkaClient } from "../kafka-client.ts";
import type { OpenLoop } from "../open-loop.ts";
import { runFeature } from "../run-feature.ts";
import { W1 } from "../w1.ts";
import { createTopic } from "../w1-input.ts";
import { w1Line } from "../w1-line.ts";

const PARTITIONS = 4;
const PER_SECOND = 20_000;
const SECONDS = 28;
const LEFT_OUT_MS = 8_000;
const RUNS = 3;
const P99_MS_MAX = 60;

async function run({ say, stop }: Context): Promise<Measurement> {
  const servers = await startTestServers({ kafka: true });
  const folder = await mkdtemp(join(tmpdir(), "millrace-latency-"));
  try {
    const { brokers, username, password } = servers.kafka;
    const connection = {
      brokers: brokers.split(","),
      sasl: username === undefined ? null : { username, password: password ?? "" },
    };
    const kafka = kafkaClient(servers.kafka);
    const workload = { ...W1, events: PER_SECOND * SECONDS };
    const runs: Ages[] = [];
    for (let i = 1; i <= RUNS; i++) {
      const name = `latency-${i}`;
      const topic = `${name}.features`;
      await createTopic(kafka, `${name}.input`, PARTITIONS);
      await createTopic(kafka, topic, PARTITIONS);
      const feature = await runFeature(
        w1Line(name, `${name}.input`, "declared", PARTITIONS),
        join(folder, name),
        servers.kafka,
      );
      const both = AbortSignal.any([stop, feature.failed]);
      const read: AgeReader = {
        ...connection,
        topic,
        workload,
        perSecond: PER_SECOND,
        leftOutMs: LEFT_OUT_MS,
      };
      const reader = startChild("age-reader.ts", read, both);
      await reader.said();
      const load: OpenLoop = {
        ...connection,
        topic: `${name}.input`,
        partitions: PARTITIONS,
        workload,
        from: 0,
        perSecond: PER_SECOND,
      };
      const loader = startChild("open-loop.ts", load, both);
      reader.tell((await loader.said()) as object);
      await loader.end();
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      const ages = reader.said();
      await reader.end();
      runs.push((await ages) as Ages);
      await feature.stop();
      say(`run ${i}: ${JSON.stringify(runs.at(-1))}`);
    }
    const due = PER_SECOND * (SECONDS - LEFT_OUT_MS / 1_000);
    return {
      value: median(runs.map(({ p99 }) => p99)),
      baseline: null,
      faults: runs.flatMap(({ read: count }, i) =>
        // Duplicates have no vector of their own.
        count < due * 0.995 ? [`run ${i + 1}: ${count} vectors were read of ${due} payments`] : [],
      ),
      parts: { perSecond: PER_SECOND, seconds: SECONDS, leftOutMs: LEFT_OUT_MS, runs },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
    await servers.stop();
  }
}

const claim: Claim = {
  name: "features-latency",
  statement:
    "At 20,000 events a second, exactly once, with producer, broker, service and reader on the same two cores, 99 of 100 " +
    "feature vectors can be read within 60 ms of the moment their event was due at the producer.",
  unit: "ms",
  target: { atMost: P99_MS_MAX },
  limitSeconds: 300,
  run,
};
export default claim;
