import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type AcceptedEvent, type Example, HEADERS } from "@millrace/contracts";
import { BAD_KINDS } from "@millrace/line-flights/bad-events";
import { featureNames } from "@millrace/lines";
import { createObjectStore } from "@millrace/objects";
import { openParquet, type Parquet } from "@millrace/parquet";
import { createLog, sleep } from "@millrace/runtime";
import { headerText } from "@millrace/stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import flights from "./faults/early-flights.ts";
import {
  type Asker,
  type MeshUnderTest,
  millrace,
  type Part,
  type Player,
  type Statuses,
  startAsking,
  startMeshUnderTest,
  startPlayer,
  until,
} from "./faults/mesh-under-test.ts";
import {
  expectCounts,
  expectEachOnce,
  expectOutcomes,
  expectReplay,
  expectSame,
  type Found,
  read,
  SOURCES,
  summary,
  textOf,
} from "./faults/verify.ts";
import { rightValues } from "./faults/what-was-sent.ts";

/**
 * The whole mesh under real faults: while a real producer plays flights, with malformed records among them, every
 * part is killed, and nobody helps. Then everything is counted from the topics themselves: nothing lost, nothing
 * twice, nothing different from a clean run.
 */
const EVENTS = 60_000;
/** Sent besides, as often as it takes, when the machine is too slow to be through with the faults by then. */
const MORE_WHILE_KILLING = 20_000;
const BAD = 200;
/** Sent at the end, when everything is back from being away. */
const LAST_EVENTS = 500;

/** What is killed, in this order, each while it is at work; the trainer besides, while it trains. */
const KILLED = ["ingest", "registry", "feature", "nats", "inference", "s3", "kafka", "player"] as const;
const PAUSE_MS = 2_000;
const FLIGHTS = fileURLToPath(new URL("../data/flights-3m.parquet", import.meta.resolve("vega-datasets")));
const OTHERS = ["registry", "nats", "s3", "kafka"] as const;

const FEATURES = featureNames(flights);

let mesh: MeshUnderTest;
let folder: string;
let parquet: Parquet;
/** Right records sent in all. */
let toSend = EVENTS;
let player: Player | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-faults-test-"));
  parquet = await openParquet({ memoryMb: 256, threads: 1, scratch: folder });
  mesh = await startMeshUnderTest();
}, 300_000);

afterAll(async () => {
  await mesh?.stop();
  parquet?.close();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

const say = (text: string): void => void process.stdout.write(`faults: ${text}\n`);
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
/** The count by which a part's work is seen to go on; that of a server is seen at the end, in the predictions. */
function workOf(part: Part, { ingest, feature, inference, trainer }: Statuses): number {
  switch (part) {
    case "ingest":
      return received(ingest?.counts ?? {});
    case "feature":
      return feature?.counts["features"] ?? 0;
    case "trainer":
      return trainer?.counts["examples"] ?? 0;
    default:
      return inference?.counts["predictions"] ?? 0;
  }
}

const received = (counts: Readonly<Record<string, number>>): number =>
  Object.keys(flights.streams).reduce((sum, stream) => sum + (counts[`received.${stream}`] ?? 0), 0);

/** Waits until all that was sent has gone through every step, and nothing restarts. */
async function settle(): Promise<Statuses> {
  let statuses: Statuses | undefined;
  let quiet = 0;
  const isSettled = async (): Promise<boolean> => {
    statuses = await mesh.statuses();
    const { ingest, feature, inference, trainer } = statuses;
    if (ingest === null || feature === null || inference === null || trainer === null) return false;
    const lag = [ingest, feature, inference, trainer].flatMap((one) => Object.values(one.lag));
    const ends = await Promise.all(
      SOURCES.map(async (topic) => (await mesh.broker.offsets(topic))[0]?.end ?? 0),
    );
    return (
      mesh.status().every(({ state }) => state === "running") &&
      lag.every((records) => records === 0) &&
      received(ingest.counts) === ends.reduce((a, b) => a + b) &&
      feature.counts["features"] === ingest.counts["accepted.departures"] &&
      inference.counts["predictions"] === feature.counts["features"] &&
      trainer.counts["examples"] === feature.counts["examples"]
    );
  };
  await until(
    "all is settled",
    120_000,
    async () => {
      quiet = (await isSettled()) ? quiet + 1 : 0;
      return quiet === 10;
    },
    () => JSON.stringify(statuses, null, 1),
  );
  return statuses as Statuses;
}

/** Counts everything, from the topics themselves and from the services' counts, and says what was found. */
async function count(statuses: Statuses): Promise<Found> {
  const found = await read(mesh.broker, await rightValues(parquet.queryBatches, FLIGHTS, toSend));
  expectOutcomes(found);
  await expectReplay(found);
  expectEachOnce(found);
  expectCounts(found, statuses);
  say(summary(found));
  return found;
}

/** Plays on, also after a kill of the player, until all is sent; until `enough` aborts there is always more to send. */
async function keepPlaying(enough: AbortSignal): Promise<void> {
  for (;;) {
    player = await startPlayer(mesh, toSend, BAD);
    const code = await player.ended;
    if (mesh.over.aborted) return;
    if (code === 0 && enough.aborted) return;
    if (code === 0) toSend += MORE_WHILE_KILLING;
    else if (code !== null) throw new Error(`the player ended with code ${code}`);
  }
}

/** Waits until a part's work goes on beyond what it is now. */
async function works(part: Part): Promise<void> {
  const work = workOf(part, await mesh.statuses());
  await until(`${part} works`, 120_000, async () => workOf(part, await mesh.statuses()) > work);
}

/** Kills a part, and answers in words how long it took until it served, and until its work went on. */
async function killAndWatch(part: Part): Promise<string> {
  const pid = mesh.pidOf(part);
  const work = workOf(part, await mesh.statuses());
  const startedAtMs = Date.now();
  mesh.signal(part, "SIGKILL");
  await until(`${part} is back`, 120_000, () => mesh.isBack(part, pid));
  const backMs = Date.now() - startedAtMs;
  // While a server was away, steps went on with what they held: that does not count.
  const from = Math.max(work, workOf(part, await mesh.statuses()));
  await until(`${part} works on`, 120_000, async () => workOf(part, await mesh.statuses()) > from);
  return `${part}: serves after ${seconds(backMs)}, works on after ${seconds(Date.now() - startedAtMs)}`;
}

async function killTrainerWhileItTrains(): Promise<string> {
  let trainer: Statuses["trainer"] = null;
  const isTraining = async (): Promise<boolean> => {
    trainer = (await mesh.statuses()).trainer;
    const run = trainer?.details["run"] as { state: string; trigger: string } | null;
    return run?.state === "train" && run.trigger === "first";
  };
  await until("the trainer trains", 180_000, isTraining, () => JSON.stringify(trainer));
  return `${await killAndWatch("trainer")} (killed while it trained)`;
}

/** Failures that have no excuse: only from the kill of inference until its next answer may requests fail. */
function withoutExcuse({ failures, answers }: Asker, killedAtMs: number): readonly string[] {
  const first = failures.find(({ atMs }) => atMs >= killedAtMs)?.atMs ?? killedAtMs;
  const revivedAtMs = answers.find(({ atMs }) => atMs > first)?.atMs ?? first;
  say(
    `inference answers again ${seconds(revivedAtMs - killedAtMs)} after its kill; ${answers.length} answers`,
  );
  return failures
    .filter(({ atMs }) => atMs < killedAtMs || atMs > revivedAtMs)
    .map(({ atMs, why }) => `${seconds(atMs - killedAtMs)} after the kill: ${why}`);
}

describe("the mesh under faults", () => {
  it("loses nothing, doubles nothing and changes nothing when every part is killed in turn", async () => {
    const applied = await millrace(mesh, "apply", join(import.meta.dirname, "faults/early-flights.ts"));
    expect(applied.json).toMatchObject({ line: "flights", changed: true });
    await until("the topics are there", 30_000, async () => (await mesh.statuses()).ingest !== null);
    const healed = new AbortController();
    const playing = keepPlaying(healed.signal);
    playing.catch(() => {}); // awaited below
    const asker = startAsking(mesh, FEATURES.length);
    await until("there is a champion", 60_000, () => asker.answers.length > 0);
    asker.failures.length = 0;

    const healings: Promise<string>[] = [];
    const watch = (healing: Promise<string>): void => {
      healing.catch(() => {}); // awaited below
      healings.push(healing);
    };
    watch(killTrainerWhileItTrains());
    let inferenceKilledAtMs = 0;
    for (const part of KILLED) {
      await sleep(PAUSE_MS);
      if (part === "player") {
        player?.kill();
        continue;
      }
      if (part === "ingest" || part === "feature" || part === "inference" || part === "kafka")
        await works(part);
      if (part === "inference") inferenceKilledAtMs = Date.now();
      watch(killAndWatch(part));
    }
    for (const healing of healings) say(await healing);
    healed.abort();
    await playing;
    const playedAtMs = Date.now();
    const statuses = await settle();
    say(`settled ${seconds(Date.now() - playedAtMs)} after the last event`);

    const { sent } = await count(statuses);
    const kinds = new Set(sent.flatMap(({ bad }) => bad?.kind ?? []));
    const numbers = new Set(sent.flatMap(({ bad }) => bad?.number ?? []));
    const repeats = Array.from({ length: BAD }, (_, n) => n).filter(
      (n) => BAD_KINDS[n % BAD_KINDS.length] === "duplicate id",
    );
    expect(numbers.size + repeats.length).toBe(BAD);
    expect(kinds.size + 1).toBe(BAD_KINDS.length);
    expect(BAD_KINDS.length).toBeGreaterThanOrEqual(20);
    expect(sent.filter(({ reason }) => reason === null)).toHaveLength(toSend);

    await until("a trained model serves", 120_000, () => Number(asker.answers.at(-1)?.version) > 1);
    await asker.stop();
    const { runs } = await mesh.registry.listRuns({ line: "flights" });
    say(
      `runs: ${runs.map((run) => `${run.trigger} ${run.state} after ${run.attempts} attempts`).join(", ")}`,
    );
    expect(withoutExcuse(asker, inferenceKilledAtMs)).toEqual([]);
  });

  it("takes rejected events again once they are corrected, each once", async () => {
    const before = (await mesh.statuses()).ingest?.counts ?? {};
    const { json: list } = await millrace(mesh, "rejected", "list", "flights");
    expect(list).toMatchObject({ total: before["rejected"] });
    for (const [reason, count] of Object.entries(list["byReason"] as Record<string, number>))
      expect(before[`rejected.${reason}`], reason).toBe(count);

    const corrections = {
      "wrong-type": ["--set", "distance=733", "--set", "origin=ORD", "--set", "destination=LGA"],
      "out-of-range": ["--set", "distance=733"],
    };
    const replay = async (): Promise<number> => {
      let records = 0;
      for (const [reason, set] of Object.entries(corrections)) {
        const { code, json } = await millrace(
          mesh,
          "rejected",
          "replay",
          "flights",
          "--reason",
          reason,
          ...set,
        );
        expect(code, JSON.stringify(json)).toBe(0);
        expect((json["sent"] as unknown[]).length).toBe(before[`rejected.${reason}`]);
        records += before[`rejected.${reason}`] ?? 0;
      }
      return records;
    };
    const records = await replay();
    expect(records).toBeGreaterThan(10);
    const once = await settle();
    expect(once.ingest?.counts).toEqual({
      ...before,
      "received.departures": (before["received.departures"] ?? 0) + records,
      "accepted.departures": (before["accepted.departures"] ?? 0) + records,
      replayed: records,
    });
    await replay();
    const twice = await settle();
    expect(twice.ingest?.counts).toEqual({
      ...once.ingest?.counts,
      "received.departures": (before["received.departures"] ?? 0) + 2 * records,
      rejected: (before["rejected"] ?? 0) + records,
      "rejected.duplicate-id": (before["rejected.duplicate-id"] ?? 0) + records,
      replayed: 2 * records,
    });
    say(`${records} rejected events corrected and accepted; sent a second time: ${records} duplicates`);
  });

  it("answers requests while everything else is away, also after a kill, and goes on when it is back", async () => {
    const asker = startAsking(mesh, FEATURES.length);
    await until("inference answers", 10_000, () => asker.answers.length > 0);
    const pids = new Map(OTHERS.map((part) => [part, mesh.pidOf(part)]));
    for (const part of OTHERS) mesh.signal(part, "SIGKILL");
    await until("all are back", 120_000, () =>
      OTHERS.every((part) => mesh.isBack(part, pids.get(part) ?? 0)),
    );
    for (const part of OTHERS) mesh.signal(part, "SIGSTOP");
    try {
      const asked = asker.answers.length;
      await sleep(3_000);
      expect(asker.failures).toEqual([]);
      expect(asker.answers.length).toBeGreaterThan(asked + 10);

      const inference = mesh.pidOf("inference");
      const killedAtMs = Date.now();
      mesh.signal("inference", "SIGKILL");
      await until("inference is back", 60_000, () => mesh.isBack("inference", inference));
      const backAtMs = Date.now();
      const revived = () => asker.answers.filter(({ atMs }) => atMs > backAtMs);
      await until("inference answers on", 60_000, () => revived().length > 10);
      const states = OTHERS.map((part) => spawnSync("ps", ["-o", "state=", "-p", String(mesh.pidOf(part))]));
      expect(states.map(({ stdout }) => String(stdout).trim().slice(0, 1))).toEqual(OTHERS.map(() => "T"));
      expect(withoutExcuse(asker, killedAtMs)).toEqual([]);
      expect(revived().filter(({ version }) => !(Number(version) > 1))).toEqual([]);
    } finally {
      for (const part of OTHERS) mesh.signal(part, "SIGCONT");
    }
    await asker.stop();
    toSend += LAST_EVENTS;
    await keepPlaying(AbortSignal.abort());
    await settle();
  });

  it("archives exactly the accepted events and the examples", async () => {
    const pid = mesh.pidOf("ingest");
    mesh.signal("ingest", "SIGTERM");
    await until("ingest is back", 60_000, () => mesh.isBack("ingest", pid));
    const { of } = await count(await settle());
    const columns = Object.entries(flights.streams).flatMap(([stream, { fields }]) =>
      Object.entries(fields).map(([field, { type }]) => ({
        name: `${stream}.${field}`,
        stream,
        field,
        kind: type === "text" || type === "category" ? ("text" as const) : ("float64" as const),
      })),
    );
    const events = of.events.map((record) => {
      const { id, stream, time, data } = JSON.parse(textOf(record)) as AcceptedEvent;
      const source = headerText(record, HEADERS.source);
      const values = columns.map((column) => (column.stream === stream ? data[column.field] : null));
      return JSON.stringify([id, stream, time, record.timestampMs, record.offset, source, ...values]);
    });
    const schema = { ...EVENT_COLUMNS, ...Object.fromEntries(columns.map(({ name, kind }) => [name, kind])) };
    expectSame("archived events", await readBlocks("flights.events", schema), events);
    const examples = of.examples.map((record) => {
      const { id, time, knownAt, label } = JSON.parse(textOf(record)) as Example;
      return JSON.stringify([id, time, knownAt, label]);
    });
    expectSame("archived examples", await readBlocks("flights.examples", EXAMPLE_COLUMNS), examples);
  });
});

type Schema = Readonly<Record<string, "text" | "float64">>;

const EVENT_COLUMNS = {
  id: "text",
  stream: "text",
  time: "float64",
  accepted_at: "float64",
  offset: "float64",
  source: "text",
} as const satisfies Schema;
const EXAMPLE_COLUMNS = {
  id: "text",
  time: "float64",
  known_at: "float64",
  label: "float64",
} as const satisfies Schema;

/** The rows of all blocks of a topic that the registry lists, each as JSON, in order. Blocks must join seamlessly. */
async function readBlocks(topic: string, schema: Schema): Promise<string[]> {
  const { url, accessKey, secretKey } = mesh.connections.s3;
  const log = createLog("test", "silent");
  const objects = createObjectStore({ url, accessKey, secretKey, bucket: "millrace", log });
  const { blocks } = await mesh.registry.listBlocks({ topic, sinceTimeMs: 0n });
  const ordered = blocks.toSorted((a, b) => Number(a.firstOffset - b.firstOffset));
  const rows: string[] = [];
  for (const [i, block] of ordered.entries()) {
    // The first record of a topic follows the mark that its writer left when it was opened.
    expect(block.firstOffset).toBe(ordered[i - 1]?.nextOffset ?? block.firstOffset);
    const file = join(folder, `${block.digest}.parquet`);
    await objects.getToFile(block.digest, file, { bytesMax: Number(block.bytes) });
    const names = Object.keys(schema);
    const table = await parquet.read([file], schema);
    expect(table.rows).toBe(Number(block.rows));
    const columns = table.columns as Readonly<Record<string, ArrayLike<number | string | null>>>;
    for (let row = 0; row < table.rows; row++)
      rows.push(JSON.stringify(names.map((name) => columns[name]?.[row] ?? null)));
  }
  say(`${topic}: ${rows.length} rows in ${ordered.length} blocks`);
  return rows;
}
