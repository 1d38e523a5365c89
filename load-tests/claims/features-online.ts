import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duration, defineLine, type LineDefinition } from "@millrace/lines";
import { startTestServers } from "@millrace/local";
import { startChild } from "../child.ts";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { kafkaClient } from "../kafka-client.ts";
import { measureProcess } from "../measure-process.ts";
import type { OnlineLoad, OnlineTimes } from "../online-load.ts";
import { runFeature, TOKEN } from "../run-feature.ts";
import { W1 } from "../w1.ts";
import { createTopic, produceW1 } from "../w1-input.ts";
import { w1Line } from "../w1-line.ts";

const PARTITIONS = 4;
const EVENTS = 200_000;
const FEATURES = 250;
const PER_SECOND = 2_000;
const SECONDS = 20;
const LEFT_OUT_SECONDS = 5;
const RUNS = 3;
const P99_MS_MAX = 2;
const NAME = "online";
const INPUT = `${NAME}.input`;

/** W1's payments with 250 features: 50 windows, five aggregates of each. */
function wideLine(): LineDefinition {
  const line = w1Line(NAME, INPUT, "declared", PARTITIONS);
  const windows = Array.from({ length: FEATURES / 5 }, (_, i): Duration => `${10 * (i + 1)}m`);
  const own = { kind: "window", from: "payments", by: ["account"], pane: "10m" } as const;
  return {
    ...line,
    features: defineLine({
      name: NAME,
      title: line.title,
      streams: { payments: line.streams["payments"] as never },
      predict: { on: "payments" },
      features: Object.fromEntries(
        windows.flatMap((window) => [
          [`count_${window}`, { ...own, window, aggregate: "count" }] as const,
          ...(["sum", "mean", "max", "stddev"] as const).map(
            (aggregate) =>
              [`${aggregate}_${window}`, { ...own, window, aggregate, of: "amount" } as never] as const,
          ),
        ]),
      ),
    }).features,
  };
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const servers = await startTestServers({ kafka: true });
  const folder = await mkdtemp(join(tmpdir(), "millrace-online-"));
  try {
    const kafka = kafkaClient(servers.kafka);
    const input = await produceW1(kafka, INPUT, PARTITIONS, { ...W1, events: EVENTS });
    await createTopic(kafka, `${NAME}.features`, PARTITIONS);
    const feature = await runFeature(wideLine(), folder, servers.kafka);
    try {
      say(`taking in ${EVENTS} events`);
      await measureProcess({
        kafka,
        pids: [feature.pid],
        topic: `${NAME}.features`,
        outputs: input.payments,
        stop: AbortSignal.any([stop, feature.failed]),
      });
      const runs: OnlineTimes[] = [];
      for (let i = 1; i <= RUNS; i++) {
        const load: OnlineLoad = {
          port: feature.port,
          token: TOKEN,
          line: NAME,
          accounts: W1.accounts,
          perSecond: PER_SECOND,
          seconds: SECONDS,
          leftOutSeconds: LEFT_OUT_SECONDS,
        };
        const loader = startChild("online-load.ts", load, AbortSignal.any([stop, feature.failed]));
        runs.push((await loader.said()) as OnlineTimes);
        await loader.end();
        say(`run ${i}: ${JSON.stringify(runs.at(-1))}`);
      }
      return {
        value: median(runs.map(({ p99 }) => p99)),
        baseline: null,
        faults: runs.flatMap(({ failed, values }, i) => [
          ...(failed === 0 ? [] : [`run ${i + 1}: ${failed} requests failed`]),
          ...(values === FEATURES ? [] : [`run ${i + 1}: an answer has ${values} values, not ${FEATURES}`]),
        ]),
        parts: {
          features: FEATURES,
          perSecond: PER_SECOND,
          seconds: SECONDS,
          leftOutSeconds: LEFT_OUT_SECONDS,
          runs,
        },
      };
    } finally {
      await feature.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
    await servers.stop();
  }
}

const claim: Claim = {
  name: "features-online",
  statement:
    "The current 250 features of one entity are answered over gRPC within 2 ms, 99 times of 100 at 2,000 requests a second.",
  unit: "ms",
  target: { atMost: P99_MS_MAX },
  limitSeconds: 300,
  run,
};
export default claim;
