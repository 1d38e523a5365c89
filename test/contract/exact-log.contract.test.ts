import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HEADERS } from "@millrace/contracts";
import { createKafkaBroker } from "@millrace/kafka";
import { startTestServers, type TestServers } from "@millrace/local";
import { createLog, sleep, systemClock } from "@millrace/runtime";
import { type Broker, fileCheckpoints, headerText, type RunningStep, startStep } from "@millrace/stream";
import { estranged, readTopic } from "@millrace/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";

/** A step on a real Kafka whose owners fight: the simulation's promise, kept by the real fence. */

const RECORDS = 40_000;
const PORTION = 500;
const log = createLog("test", "silent");

let servers: TestServers<{ readonly kafka: true }>;
let folder: string;
const opened: Broker[] = [];

function open(): Broker {
  const { brokers, username = "", password = "" } = servers.kafka;
  const broker = createKafkaBroker({
    clientId: "test",
    brokers: brokers.split(","),
    sasl: { username, password },
    log,
  });
  opened.push(broker);
  return broker;
}

beforeAll(async () => {
  servers = await startTestServers({ kafka: true });
  folder = await mkdtemp(join(tmpdir(), "millrace-exact-"));
});
afterAll(async () => {
  await Promise.all(opened.map((broker) => broker.stop()));
  await servers.stop();
  await rm(folder, { recursive: true });
});

/** Running sums of partition 0; each member has a group, a client and a disk of its own. */
function startMember(name: string, failures: unknown[]): Promise<RunningStep> {
  return startStep(
    {
      name: "sums",
      topics: ["numbers"],
      outputs: ["sums"],
      checkpoints: fileCheckpoints(join(folder, name)),
      checkpointEveryMs: 50,
      createTask: (_partition, snapshot) => {
        let sum = (snapshot as number | null) ?? 0;
        return {
          process: (records, emit) => {
            for (const record of records) {
              sum += Number(Buffer.from(record.value as Uint8Array).toString());
              emit(record, "sums", { key: null, value: String(sum) });
            }
          },
          snapshot: () => sum,
        };
      },
    },
    {
      broker: estranged(open(), name),
      clock: systemClock,
      log,
      fail: (error) => failures.push(error),
      fencedWaitMs: 150,
    },
  );
}

it("keeps the log exact while two owners fight for a partition, and the broker is killed", async () => {
  const broker = open();
  await broker.ensureTopics(
    ["numbers", "sums"].map((name) => ({ name, key: "", owner: "", readers: [], config: {} })),
    1,
  );
  const failures: unknown[] = [];
  const members = await Promise.all(["one", "two"].map((name) => startMember(name, failures)));
  for (let i = 0; i < RECORDS; i += PORTION) {
    const numbers = Array.from({ length: PORTION }, (_, n) => String(i + n));
    await broker.send(numbers.map((value) => ({ topic: "numbers", partition: 0, key: null, value })));
    if (i === RECORDS / 2) {
      const kafka = servers.status().find((one) => one.name === "kafka");
      process.kill(kafka?.pid as number, "SIGKILL");
    }
    await sleep(30);
  }
  for (const endMs = Date.now() + 60_000; Date.now() < endMs; await sleep(100)) {
    if ((await readTopic(broker, "sums")).length >= RECORDS || failures.length > 0) break;
  }
  await Promise.all(members.map((member) => member.stop()));
  expect(failures).toEqual([]);
  const records = await readTopic(broker, "sums");
  const offsets = records.map((record) => headerText(record, HEADERS.source));
  expect(offsets).toEqual(Array.from({ length: RECORDS }, (_, n) => `numbers/0/${n}/0`));
  expect(records.map(({ value }) => Number(Buffer.from(value ?? []).toString()))).toEqual(
    Array.from({ length: RECORDS }, (_, n) => (n * (n + 1)) / 2),
  );
  const starts = (await broker.offsets("sums"))[0]?.end ?? 0;
  expect(starts - RECORDS, "take-overs").toBeGreaterThan(4);
  process.stdout.write(`exact log: ${RECORDS} outputs, ${starts - RECORDS} take-overs, 0 lost, 0 twice\n`);
}, 180_000);
