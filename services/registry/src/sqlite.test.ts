import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MIGRATIONS, openSqliteStore } from "./sqlite.ts";
import {
  type AspiredRow,
  type BlockRow,
  type CheckpointRow,
  type LineRow,
  type RunRow,
  UnusableStoreError,
  type VersionRow,
} from "./store.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-registry-"));
  file = join(folder, "data", "registry.sqlite");
});
afterEach(() => rmSync(folder, { recursive: true }));

const LINE: LineRow = { name: "flights", definitionJson: "{}", digest: "d", revision: 1, appliedAtMs: 5 };
const RUN: RunRow = {
  id: "r1",
  line: "flights",
  cause: "c1",
  trigger: "drift",
  state: "admitted",
  reason: "harm",
  epoch: 2,
  createdAtMs: 10,
  updatedAtMs: 11,
  streamTimeMs: 12,
  changeTimeMs: 13,
  datasetDigest: "",
  version: 0,
  traceparent: "",
  stageMs: { build: 7 },
  attempts: 1,
};
const VERSION: VersionRow = {
  line: "flights",
  version: 1,
  artifactDigest: "a",
  artifactBytes: 9,
  recipe: "baseline",
  featureDigest: "f",
  featureNames: ["hour", "it's"],
  datasetDigest: "",
  runId: "r1",
  epoch: 2,
  parentVersion: 0,
  registeredAtMs: 14,
  evidenceJson: "{}",
  passed: true,
  trainedUntilMs: 15,
  signature: "s",
};
const BLOCK: BlockRow = {
  line: "flights",
  topic: "flights.events",
  partition: 0,
  firstOffset: 0,
  nextOffset: 10,
  rows: 9,
  digest: "b",
  bytes: 100,
  minTimeMs: 1,
  maxTimeMs: 2,
  maxKnownAtMs: 3,
};

const CHECKPOINT: CheckpointRow = {
  line: "flights",
  step: "flights.compute",
  partition: 0,
  manifestDigest: "m",
  bytes: 1,
  version: "",
  offsets: { "flights.events": 7 },
  epoch: 1,
  savedAtMs: 4,
};

describe("sqlite store", () => {
  it("gives back what was put, also after it is opened again", async () => {
    const aspired = {
      line: "flights",
      generation: 1,
      models: [
        { version: 1, role: "champion" as const },
        { version: 3, role: "challenger" as const },
        { version: 2, role: "shadow" as const },
      ],
      rollout: {
        version: 3,
        strategy: "ab" as const,
        by: "entity" as const,
        share: 0.3,
        salt: "flights/1",
        startedAtMs: 4,
      },
      changedAtMs: 20,
      change: "promote" as const,
      reason: "",
      traceparent: "",
    };
    const change = {
      line: "flights",
      kind: "promoted" as const,
      version: 1,
      generation: 1,
      reason: "é",
      atMs: 3,
    };
    const store = openSqliteStore(file);
    await store.transaction(async (tables) => {
      await tables.putLine(LINE);
      await tables.putLease("flights", { holder: "t", epoch: 2, expiresAtMs: 99 });
      await tables.addRun(RUN);
      await tables.updateRun({ ...RUN, state: "building", stageMs: { build: 8, train: 1 } });
      await tables.addVersion(VERSION);
      for (const version of [2, 3]) {
        await tables.addVersion({ ...VERSION, version, artifactDigest: `a${version}` });
      }
      await tables.addAspired(aspired);
      await tables.addBlock(BLOCK);
      await tables.putCheckpointEpoch("flights", "flights.compute", 0, 1);
      await tables.addCheckpoint(CHECKPOINT);
      await tables.addChange(change, "tp");
    });
    await store.close();
    await store.close();
    const again = openSqliteStore(file);
    await again.transaction(async (tables) => {
      expect(await tables.lines()).toEqual([LINE]);
      expect(await tables.lease("flights")).toEqual({ holder: "t", epoch: 2, expiresAtMs: 99 });
      const run = { ...RUN, state: "building", stageMs: { build: 8, train: 1 } };
      expect(await tables.run("r1")).toEqual(run);
      expect(await tables.runs("flights", 10)).toEqual([run]);
      expect(await tables.version("flights", 1)).toEqual(VERSION);
      expect(await tables.aspired("flights")).toEqual(aspired);
      expect(await tables.history("flights")).toEqual([aspired]);
      expect(await tables.blocks("flights.events", 2)).toEqual([BLOCK]);
      expect(await tables.blocks("flights.events", 3)).toEqual([]);
      expect(await tables.checkpoints("flights")).toEqual([CHECKPOINT]);
      expect(await tables.pendingChanges(9)).toEqual([{ seq: 1, change, traceparent: "tp" }]);
      expect(await tables.lineCounts("flights")).toEqual({
        versions: 3,
        runs: 1,
        blocks: 1,
        streamTimeMs: 2,
      });
    });
    await again.close();
  });

  it("goes on with a file of earlier times: nothing was signed or rolled out then", async () => {
    mkdirSync(dirname(file));
    const before = new DatabaseSync(file);
    for (const migration of MIGRATIONS.slice(0, 2)) before.exec(migration);
    before.exec(`
      PRAGMA user_version = 2;
      INSERT INTO lines VALUES ('flights', '{}', 'd', 1, 5);
      INSERT INTO versions VALUES ('flights', 1, 'a', 9, 'baseline', 'f', '[]', '', '', 2, 0, 14, '', 1, 15);
      INSERT INTO versions VALUES ('flights', 2, 'b', 9, 'lightgbm', 'f', '[]', '', '', 2, 0, 14, '', 1, 15);
      INSERT INTO aspired VALUES ('flights', 1, 20, 'promote', 'better', '');
      INSERT INTO aspired_models VALUES ('flights', 1, 1, 'champion');
      INSERT INTO aspired_models VALUES ('flights', 1, 2, 'shadow');
    `);
    before.close();
    const store = openSqliteStore(file);
    const expected = {
      line: "flights",
      generation: 1,
      models: [
        { version: 1, role: "champion" },
        { version: 2, role: "shadow" },
      ],
      rollout: null,
      changedAtMs: 20,
      change: "promote",
      reason: "better",
      traceparent: "",
    };
    await store.transaction(async (tables) => {
      expect(await tables.history("flights")).toEqual([expected]);
      expect((await tables.versions("flights")).map(({ signature }) => signature)).toEqual(["", ""]);
      const models = [
        { version: 1, role: "champion" as const },
        { version: 2, role: "challenger" as const },
      ];
      await tables.addAspired({ ...(expected as AspiredRow), generation: 2, models });
      expect((await tables.aspired("flights"))?.models).toEqual(models);
    });
    await store.close();
  });

  it("undoes everything of a transaction that throws, and goes on", async () => {
    const store = openSqliteStore(file);
    const failing = store.transaction(async (tables) => {
      await tables.putLine(LINE);
      throw new Error("no");
    });
    const following = store.transaction((tables) => tables.lines());
    await expect(failing).rejects.toThrow("no");
    expect(await following).toEqual([]);
    await store.close();
  });

  it("runs transactions one after the other", async () => {
    const store = openSqliteStore(file);
    await store.transaction((tables) => tables.putLine(LINE));
    const increment = (): Promise<void> =>
      store.transaction(async (tables) => {
        const line = (await tables.line("flights")) as LineRow;
        await Promise.resolve();
        await tables.putLine({ ...line, revision: line.revision + 1 });
      });
    await Promise.all(Array.from({ length: 50 }, increment));
    expect((await store.transaction((tables) => tables.line("flights")))?.revision).toBe(51);
    await store.close();
  });

  it("holds two champions of one generation, and rows of unknown lines, for impossible", async () => {
    const store = openSqliteStore(file);
    await store.transaction(async (tables) => {
      await tables.putLine(LINE);
      await tables.addVersion(VERSION);
      await tables.addVersion({ ...VERSION, version: 2, artifactDigest: "a2" });
    });
    const twoChampions = store.transaction((tables) =>
      tables.addAspired({
        line: "flights",
        generation: 1,
        models: [
          { version: 1, role: "champion" },
          { version: 2, role: "champion" },
        ],
        rollout: null,
        changedAtMs: 1,
        change: "promote",
        reason: "",
        traceparent: "",
      }),
    );
    await expect(twoChampions).rejects.toThrow(/UNIQUE/);
    const stranger = store.transaction((tables) => tables.addBlock({ ...BLOCK, line: "x" }));
    await expect(stranger).rejects.toThrow(/FOREIGN KEY/);
    expect(await store.transaction((tables) => tables.history("flights"))).toEqual([]);
    await store.close();
  });

  it("writes ahead, can be read meanwhile, and keeps its folder private", async () => {
    const store = openSqliteStore(file);
    await store.transaction((tables) => tables.putLine(LINE));
    const reader = new DatabaseSync(file);
    expect(reader.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    expect(reader.prepare("SELECT name FROM lines").all()).toEqual([{ name: "flights" }]);
    reader.close();
    expect(statSync(join(folder, "data")).mode & 0o777).toBe(0o700);
    await store.close();
  });

  it("refuses a damaged file, naming it and the remedy", async () => {
    const store = openSqliteStore(file);
    await store.transaction(async (tables) => {
      await tables.putLine(LINE);
      for (let i = 0; i < 300; i++) {
        await tables.addBlock({ ...BLOCK, firstOffset: i * 10, nextOffset: i * 10 + 10 });
      }
    });
    await store.close();
    const bytes = readFileSync(file);
    bytes.fill(0xff, bytes.length - 4_096 * 3, bytes.length - 4_096 * 2);
    writeFileSync(file, bytes);
    expect(() => openSqliteStore(file)).toThrow(UnusableStoreError);
    writeFileSync(file, "this is no database, but it is long enough to be read as one".repeat(100));
    expect(() => openSqliteStore(file)).toThrow(/registry\.sqlite: damaged.*Put back a copy/);
  });

  it("refuses rows that point nowhere", async () => {
    await openSqliteStore(file).close();
    const database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
    database.exec("INSERT INTO leases VALUES ('ghost', 'h', 1, 1)");
    database.close();
    expect(() => openSqliteStore(file)).toThrow(/dangling row in leases/);
  });

  it("refuses a file of a newer Millrace", async () => {
    await openSqliteStore(file).close();
    const database = new DatabaseSync(file);
    database.exec("PRAGMA user_version = 99");
    database.close();
    expect(() => openSqliteStore(file)).toThrow(/has schema 99.*newer/);
  });
});
