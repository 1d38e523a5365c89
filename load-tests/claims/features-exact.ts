import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HEADERS, parsePosition, readVector, registryApi } from "@millrace/contracts";
import { createComputeTask } from "@millrace/feature";
import { createKafkaBroker } from "@millrace/kafka";
import { defineLine, type LineDefinition } from "@millrace/lines";
import { startMesh } from "@millrace/local";
import { createRpcClient } from "@millrace/rpc";
import { createLog, sleep } from "@millrace/runtime";
import { type Broker, headerText, type OutputRecord, partitionOf, type StreamRecord } from "@millrace/stream";
import { random, readTopic } from "@millrace/testkit";
import type { Claim, Context, Measurement } from "../claim.ts";

const EVENTS = 100_000;
const KILLS = 100;
const BROKER_RESTARTS = 5;
const PARTITIONS = 2;
const SERVICES = ["ingest", "feature"] as const;
type Service = (typeof SERVICES)[number];
/** A killed process lives at least so long before it is killed again, from when it serves. */
const LIFE_MS = { min: 200, max: 1_500 } as const;
const SEND_EVERY_MS = 100;
const QUIET_MS = 8_000;

/** Payments and refunds, so that ingest writes the event log and feature reads it. */
const line: LineDefinition = defineLine({
  name: "shop",
  title: "Shop",
  partitions: PARTITIONS,
  streams: {
    payments: {
      topic: "shop.payments",
      id: "id",
      time: "at",
      key: ["account"],
      lateMax: "5m",
      fields: {
        id: { type: "text" },
        at: { type: "time" },
        account: { type: "category" },
        merchant: { type: "category" },
        amount: { type: "decimal", scale: 2 },
      },
    },
    refunds: {
      topic: "shop.refunds",
      id: "id",
      time: "at",
      key: ["account"],
      fields: { id: { type: "text" }, at: { type: "time" }, account: { type: "category" } },
    },
  },
  predict: { on: "payments" },
  features: {
    count_1h: { kind: "window", aggregate: "count", from: "payments", by: ["account"], window: "1h" },
    sum_1h: {
      kind: "window",
      aggregate: "sum",
      of: "amount",
      from: "payments",
      by: ["account"],
      window: "1h",
    },
    stddev_24h: {
      kind: "window",
      aggregate: "stddev",
      of: "amount",
      from: "payments",
      by: ["account"],
      window: "24h",
    },
    merchants_24h: {
      kind: "window",
      aggregate: "distinct",
      of: "merchant",
      from: "payments",
      by: ["account"],
      window: "24h",
    },
    refunds_24h: { kind: "window", aggregate: "count", from: "refunds", by: ["account"], window: "24h" },
    rate: { kind: "rate", from: "payments", by: ["account"], halfLife: "10m" },
  },
});

/** Every tenth event is a refund, every hundredth comes twice, some come late. */
function* events(): Generator<OutputRecord> {
  const draw = random(17);
  const startMs = Date.now() - 3 * 3_600_000;
  let last: OutputRecord | undefined;
  for (let i = 0; i < EVENTS; i++) {
    if (last !== undefined && i % 100 === 99) {
      yield last;
      continue;
    }
    const at = Math.floor(startMs + i * 60 - (draw() < 0.02 ? draw() * 200_000 : 0));
    const account = `a${Math.floor(500 * draw() ** 2)}`;
    const isRefund = i % 10 === 5;
    const event = isRefund
      ? { id: `r${i}`, at, account }
      : {
          id: `p${i}`,
          at,
          account,
          merchant: `m${Math.floor(200 * draw())}`,
          amount: Math.floor(draw() * 1e5) / 100,
        };
    last = {
      topic: isRefund ? "shop.refunds" : "shop.payments",
      partition: partitionOf(account, PARTITIONS),
      key: account,
      value: JSON.stringify(event),
    };
    yield last;
  }
}

async function run({ say, stop }: Context): Promise<Measurement> {
  const home = await mkdtemp(join(tmpdir(), "millrace-exact-"));
  const mesh = await startMesh({ home, existing: {}, ports: "random", services: ["registry", ...SERVICES] });
  const { brokers, username = "", password = "" } = mesh.connections.kafka;
  const broker = createKafkaBroker({
    clientId: "exact",
    brokers: brokers.split(","),
    sasl: { username, password },
    log: createLog("exact", "error"),
    patienceMs: 300_000,
  });
  try {
    const registry = createRpcClient(registryApi.RegistryService, `127.0.0.1:${mesh.ports.registry}`, {
      token: mesh.environment["MILLRACE_TOKEN"] ?? "",
    });
    await registry.applyLine({ definitionJson: JSON.stringify(line) });
    registry.close();
    const records = [...events()];
    const kills: Record<Service, number> = { ingest: 0, feature: 0 };
    let restarts = 0;
    const killing = new AbortController();
    const over = AbortSignal.any([stop, killing.signal]);
    const enough = (): boolean =>
      SERVICES.every((service) => kills[service] >= KILLS) && restarts >= BROKER_RESTARTS;

    // Sent at such a pace that the last event meets the last kill; what is left goes when all are killed.
    const sending = (async () => {
      for (let sent = 0; sent < records.length; await sleep(SEND_EVERY_MS, stop)) {
        stop.throwIfAborted();
        const done = Math.min(...SERVICES.map((service) => kills[service])) / KILLS;
        const due = enough()
          ? records.length
          : Math.max(sent + 20, Math.floor(records.length * Math.min(done, 0.98)));
        const some = records.slice(sent, Math.min(due, sent + 2_000, records.length));
        await broker.send(some);
        sent += some.length;
      }
    })();
    const draw = random(23);
    const killers = SERVICES.map(async (service) => {
      while (kills[service] < KILLS && !over.aborted) {
        const part = mesh.status().find(({ name }) => name === service);
        if (part?.state !== "running" || part.pid === undefined) {
          await sleep(20, over);
          continue;
        }
        await sleep(LIFE_MS.min + draw() * (LIFE_MS.max - LIFE_MS.min), over);
        process.kill(part.pid, "SIGKILL");
        kills[service]++;
        if (kills[service] % 10 === 0) say(`${service}: killed ${kills[service]} times`);
        await until(() => mesh.status().find(({ name }) => name === service)?.pid !== part.pid, over);
      }
    });
    const restarting = (async () => {
      while (restarts < BROKER_RESTARTS && !over.aborted) {
        const due = ((restarts + 0.5) * KILLS) / BROKER_RESTARTS;
        if (Math.min(kills.ingest, kills.feature) < due) {
          await sleep(200, over);
          continue;
        }
        const kafka = mesh.status().find(({ name }) => name === "kafka");
        if (kafka?.state === "running" && kafka.pid !== undefined) {
          process.kill(kafka.pid, "SIGKILL");
          restarts++;
          say(`Kafka: killed ${restarts} times`);
          await until(() => mesh.status().find(({ name }) => name === "kafka")?.pid !== kafka.pid, over);
        }
        await sleep(1_000, over);
      }
    })();
    await Promise.all([sending, ...killers, restarting]);
    stop.throwIfAborted();
    say("all events are sent, all kills done: waiting until nothing moves");
    await quiet(broker, stop);
    const found = await verdict(broker, records);
    return { ...found, baseline: null, parts: { ...found.parts, kills, brokerRestarts: restarts } };
  } finally {
    await broker.stop();
    await mesh.stop();
    await rm(home, { recursive: true, force: true });
  }
}

/** What stands in the topics, as any reader sees it, against what was sent and against a clean run. */
async function verdict(
  broker: Broker,
  records: readonly OutputRecord[],
): Promise<Pick<Measurement, "value" | "faults" | "parts">> {
  const sent = new Map(records.map(({ value }) => [(JSON.parse(String(value)) as { id: string }).id, 0]));
  const payments = [...sent.keys()].filter((id) => id.startsWith("p"));
  const log = await readTopic(broker, "shop.events");
  for (const record of log) count(sent, (JSON.parse(textOf(record)) as { id: string }).id);
  const features = await readTopic(broker, "shop.features");
  const vectors = new Map(payments.map((id) => [id, 0]));
  const served = new Map<string, readonly (number | null)[]>();
  let disordered = 0;
  const newest = new Map<number, number>();
  for (const record of features) {
    const vector = readVector(record.value);
    if (vector === null) continue;
    count(vectors, vector.id);
    served.set(vector.id, vector.values);
    const offset = parsePosition(headerText(record, HEADERS.source) ?? "")?.offset ?? -1;
    if (offset <= (newest.get(record.partition) ?? -1)) disordered++;
    newest.set(record.partition, offset);
  }
  let different = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const task = createComputeTask(line, "00".repeat(32), null);
    await task.process(
      log.filter((record) => record.partition === partition),
      (_cause, _topic, { value }) => {
        const clean = readVector(Buffer.from(value as Uint8Array));
        const found = served.get(clean?.id ?? "");
        if (clean === null || found === undefined) return;
        if (clean.values.some((one, i) => !Object.is(one, found[i]))) different++;
      },
    );
  }
  const lost = [...sent.values(), ...vectors.values()].filter((times) => times === 0).length;
  const twice = [...sent.values(), ...vectors.values()].filter((times) => times > 1).length;
  return {
    value: lost + twice + different + disordered,
    faults: [],
    parts: { events: sent.size, vectors: payments.length, lost, twice, different, disordered },
  };
}

function count(times: Map<string, number>, id: string): void {
  times.set(id, (times.get(id) ?? 1) + 1);
}

function textOf({ value }: StreamRecord): string {
  return Buffer.from(value ?? []).toString("utf8");
}

/** Until the ends of the topics have not moved for a while. */
async function quiet(broker: Broker, stop: AbortSignal): Promise<void> {
  let seen = "";
  for (let sinceMs = Date.now(); Date.now() - sinceMs < QUIET_MS; await sleep(250, stop)) {
    stop.throwIfAborted();
    const ends = await Promise.all(["shop.events", "shop.features"].map((topic) => broker.offsets(topic)));
    const now = JSON.stringify(ends);
    if (now !== seen) sinceMs = Date.now();
    seen = now;
  }
}

async function until(what: () => boolean, stop: AbortSignal): Promise<void> {
  while (!what() && !stop.aborted) await sleep(20, stop);
}

const claim: Claim = {
  name: "features-exact",
  statement:
    "Over 100 kills each of ingest and feature and 5 of Kafka, of 100,000 events none is lost and none counts twice, and every " +
    "vector is bit-equal to that of a clean run.",
  unit: "events lost, doubled or different",
  target: { atMost: 0 },
  limitSeconds: 2_400,
  run,
};
export default claim;
