import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import type { RegistryChange } from "@millrace/contracts";
import type { AspiredModel, Lease, Rollout } from "@millrace/versions";
import {
  type AspiredRow,
  type BlockRow,
  type CheckpointRow,
  type LineCounts,
  type LineRow,
  type PendingChange,
  type RunRow,
  type Store,
  type Tables,
  UnusableStoreError,
  type VersionRow,
} from "./store.ts";

/** One per schema version; `user_version` counts those that a file has seen. Never edited, only added to. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE lines (
    name TEXT PRIMARY KEY,
    definition_json TEXT NOT NULL,
    digest TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    applied_at_ms INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE blocks (
    line TEXT NOT NULL REFERENCES lines (name),
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL CHECK (next_offset > first_offset),
    rows INTEGER NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    min_time_ms INTEGER NOT NULL,
    max_time_ms INTEGER NOT NULL,
    max_known_at_ms INTEGER NOT NULL,
    seen_json TEXT NOT NULL,
    PRIMARY KEY (topic, partition, first_offset)
  ) STRICT;
  CREATE INDEX blocks_of_line ON blocks (line, max_time_ms);

  CREATE TABLE leases (
    line TEXT PRIMARY KEY REFERENCES lines (name),
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    expires_at_ms INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL REFERENCES lines (name),
    cause TEXT NOT NULL,
    trigger TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    stream_time_ms INTEGER NOT NULL,
    change_time_ms INTEGER NOT NULL,
    dataset_digest TEXT NOT NULL,
    version INTEGER NOT NULL,
    traceparent TEXT NOT NULL,
    stage_ms TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    UNIQUE (line, cause)
  ) STRICT;
  CREATE INDEX runs_of_line ON runs (line, seq);

  CREATE TABLE versions (
    line TEXT NOT NULL REFERENCES lines (name),
    version INTEGER NOT NULL CHECK (version >= 1),
    artifact_digest TEXT NOT NULL,
    artifact_bytes INTEGER NOT NULL,
    recipe TEXT NOT NULL,
    feature_digest TEXT NOT NULL,
    feature_names TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    run_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    parent_version INTEGER NOT NULL,
    registered_at_ms INTEGER NOT NULL,
    evidence_json TEXT NOT NULL,
    passed INTEGER NOT NULL,
    trained_until_ms INTEGER NOT NULL,
    PRIMARY KEY (line, version),
    UNIQUE (line, run_id, artifact_digest)
  ) STRICT;

  CREATE TABLE aspired (
    line TEXT NOT NULL REFERENCES lines (name),
    generation INTEGER NOT NULL CHECK (generation >= 1),
    changed_at_ms INTEGER NOT NULL,
    change TEXT NOT NULL,
    reason TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    PRIMARY KEY (line, generation)
  ) STRICT;
  CREATE TABLE aspired_models (
    line TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('champion', 'shadow')),
    PRIMARY KEY (line, generation, version),
    FOREIGN KEY (line, generation) REFERENCES aspired (line, generation),
    FOREIGN KEY (line, version) REFERENCES versions (line, version)
  ) STRICT;
  CREATE UNIQUE INDEX one_champion ON aspired_models (line, generation) WHERE role = 'champion';

  CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    change_json TEXT NOT NULL,
    traceparent TEXT NOT NULL
  ) STRICT;
  `,
  `
  ALTER TABLE blocks DROP COLUMN seen_json;

  CREATE TABLE checkpoint_owners (
    line TEXT NOT NULL REFERENCES lines (name),
    step TEXT NOT NULL,
    partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    PRIMARY KEY (line, step, partition)
  ) STRICT;
  CREATE TABLE checkpoints (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    line TEXT NOT NULL,
    step TEXT NOT NULL,
    partition INTEGER NOT NULL,
    manifest_digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    version TEXT NOT NULL,
    offsets TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    saved_at_ms INTEGER NOT NULL,
    FOREIGN KEY (line, step, partition) REFERENCES checkpoint_owners (line, step, partition)
  ) STRICT;
  CREATE INDEX checkpoints_of_partition ON checkpoints (line, step, partition, seq);
  `,
  `
  ALTER TABLE versions ADD COLUMN signature TEXT NOT NULL DEFAULT '';
  ALTER TABLE aspired ADD COLUMN rollout TEXT NOT NULL DEFAULT 'null';

  CREATE TABLE aspired_roles (
    line TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('champion', 'challenger', 'shadow')),
    PRIMARY KEY (line, generation, version),
    FOREIGN KEY (line, generation) REFERENCES aspired (line, generation),
    FOREIGN KEY (line, version) REFERENCES versions (line, version)
  ) STRICT;
  INSERT INTO aspired_roles SELECT line, generation, version, role FROM aspired_models;
  DROP TABLE aspired_models;
  ALTER TABLE aspired_roles RENAME TO aspired_models;
  CREATE UNIQUE INDEX one_champion ON aspired_models (line, generation) WHERE role = 'champion';
  CREATE UNIQUE INDEX one_challenger ON aspired_models (line, generation) WHERE role = 'challenger';
  `,
];

type Value = string | number | boolean | object | null;
type Row = Record<string, string | number>;

/**
 * Opens the store in one SQLite file, creates it where it is missing, brings its schema up to date and checks it.
 * Write-ahead log with synchronous=FULL: what is committed survives kill -9 and power loss. Throws an
 * UnusableStoreError when the file is damaged or was written by a newer Millrace.
 */
export function openSqliteStore(file: string): Store {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = open(file);
  const tables = createTables(database);
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    transaction: (work) =>
      inTurn(async () => {
        database.exec("BEGIN IMMEDIATE");
        try {
          const result = await work(tables);
          database.exec("COMMIT");
          return result;
        } catch (error) {
          if (database.isTransaction) database.exec("ROLLBACK");
          throw error;
        }
      }),
    close: () => inTurn(async () => void (database.isOpen && database.close())),
  };
}

function open(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: 5_000 });
  try {
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
    const faults = [
      ...database
        .prepare("PRAGMA integrity_check")
        .all()
        .map((row) => String(row["integrity_check"])),
      ...database
        .prepare("PRAGMA foreign_key_check")
        .all()
        .map((row) => `dangling row in ${row["table"]}`),
    ].filter((text) => text !== "ok");
    if (faults.length > 0) throw new Error(faults.join("; "));
    migrate(database, file);
    return database;
  } catch (error) {
    database.close();
    if (error instanceof UnusableStoreError) throw error;
    throw new UnusableStoreError(
      file,
      `damaged or unreadable (${(error as Error).message})`,
      "Put back a copy of the file, or move it and its -wal and -shm files away to begin anew",
      { cause: error },
    );
  }
}

function migrate(database: DatabaseSync, file: string): void {
  database.exec("BEGIN EXCLUSIVE");
  const found = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (found > MIGRATIONS.length) {
    database.exec("ROLLBACK");
    throw new UnusableStoreError(
      file,
      `has schema ${found}, this Millrace knows ${MIGRATIONS.length}`,
      "Run the Millrace that wrote it, or a newer one",
    );
  }
  for (const migration of MIGRATIONS.slice(found)) database.exec(migration);
  database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
  database.exec("COMMIT");
}

/** The tables over one connection. Columns are the rows' names in snake case; objects are JSON, booleans 0 or 1. */
function createTables(database: DatabaseSync): Tables {
  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const known = statements.get(sql) ?? database.prepare(sql);
    statements.set(sql, known);
    return known;
  };
  const all = (sql: string, ...values: SQLInputValue[]): Row[] =>
    prepare(sql)
      .all(...values)
      .map(
        (row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [camel(name), value])) as Row,
      );
  const one = (sql: string, ...values: SQLInputValue[]): Row | null => all(sql, ...values)[0] ?? null;
  const insert = (table: string, row: object, conflict = ""): void => {
    const names = Object.keys(row);
    const sql = `INSERT INTO ${table} (${names.map(snake).join(", ")}) VALUES (${names.map(() => "?").join(", ")})`;
    prepare(`${sql} ${conflict}`).run(...(Object.values(row) as Value[]).map(toColumn));
  };

  const toAspired = ({ rollout, ...row }: Row): AspiredRow => ({
    ...(row as unknown as Omit<AspiredRow, "models" | "rollout">),
    models: all(
      `SELECT version, role FROM aspired_models WHERE line = ? AND generation = ?
       ORDER BY role <> 'champion', role, version`,
      row["line"] as string,
      row["generation"] as number,
    ) as unknown as AspiredModel[],
    rollout: JSON.parse(rollout as string) as Rollout | null,
  });

  return {
    line: async (name) => one("SELECT * FROM lines WHERE name = ?", name) as LineRow | null,
    lines: async () => all("SELECT * FROM lines ORDER BY name") as unknown as LineRow[],
    putLine: async (line) =>
      insert(
        "lines",
        line,
        `ON CONFLICT (name) DO UPDATE SET definition_json = excluded.definition_json, digest = excluded.digest,
         revision = excluded.revision, applied_at_ms = excluded.applied_at_ms`,
      ),
    lineCounts: async (name) =>
      one(
        `SELECT (SELECT count(*) FROM versions WHERE line = ?1) AS versions,
                (SELECT count(*) FROM runs WHERE line = ?1) AS runs,
                (SELECT count(*) FROM blocks WHERE line = ?1) AS blocks,
                (SELECT coalesce(max(max_time_ms), 0) FROM blocks WHERE line = ?1) AS stream_time_ms`,
        name,
      ) as unknown as LineCounts,

    block: async (topic, partition, firstOffset) =>
      one(
        "SELECT * FROM blocks WHERE topic = ? AND partition = ? AND first_offset = ?",
        topic,
        partition,
        firstOffset,
      ) as BlockRow | null,
    lastBlock: async (topic, partition) =>
      one(
        "SELECT * FROM blocks WHERE topic = ? AND partition = ? ORDER BY first_offset DESC LIMIT 1",
        topic,
        partition,
      ) as BlockRow | null,
    blocks: async (topic, sinceTimeMs) =>
      all(
        "SELECT * FROM blocks WHERE topic = ? AND max_time_ms >= ? ORDER BY partition, first_offset",
        topic,
        sinceTimeMs,
      ) as unknown as BlockRow[],
    addBlock: async (block) => insert("blocks", block),

    checkpointEpoch: async (line, step, partition) =>
      Number(
        one(
          "SELECT epoch FROM checkpoint_owners WHERE line = ? AND step = ? AND partition = ?",
          line,
          step,
          partition,
        )?.["epoch"] ?? 0,
      ),
    putCheckpointEpoch: async (line, step, partition, epoch) =>
      insert(
        "checkpoint_owners",
        { line, step, partition, epoch },
        "ON CONFLICT (line, step, partition) DO UPDATE SET epoch = excluded.epoch",
      ),
    checkpoints: async (line) =>
      all("SELECT * FROM checkpoints WHERE line = ? ORDER BY step, partition, seq DESC", line).map(
        toCheckpoint,
      ),
    checkpointsOf: async (line, step, partition) =>
      all(
        "SELECT * FROM checkpoints WHERE line = ? AND step = ? AND partition = ? ORDER BY seq DESC",
        line,
        step,
        partition,
      ).map(toCheckpoint),
    addCheckpoint: async (checkpoint) => insert("checkpoints", checkpoint),
    dropCheckpoints: async (line, step, partition, kept) =>
      all(
        `DELETE FROM checkpoints WHERE line = ?1 AND step = ?2 AND partition = ?3 AND seq NOT IN
         (SELECT seq FROM checkpoints WHERE line = ?1 AND step = ?2 AND partition = ?3 ORDER BY seq DESC LIMIT ?4)
         RETURNING *`,
        line,
        step,
        partition,
        kept,
      ).map(toCheckpoint),

    lease: async (line) =>
      one("SELECT holder, epoch, expires_at_ms FROM leases WHERE line = ?", line) as Lease | null,
    putLease: async (line, lease) =>
      insert(
        "leases",
        { line, ...lease },
        `ON CONFLICT (line) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch,
         expires_at_ms = excluded.expires_at_ms`,
      ),

    run: async (id) => toRun(one("SELECT * FROM runs WHERE id = ?", id)),
    runOfCause: async (line, cause) =>
      toRun(one("SELECT * FROM runs WHERE line = ? AND cause = ?", line, cause)),
    runs: async (line, limit) =>
      all("SELECT * FROM runs WHERE line = ? ORDER BY seq DESC LIMIT ?", line, limit).map(
        (row) => toRun(row) as RunRow,
      ),
    addRun: async (run) => insert("runs", run),
    updateRun: async ({ id, ...run }) => {
      const names = Object.keys(run);
      prepare(`UPDATE runs SET ${names.map((name) => `${snake(name)} = ?`).join(", ")} WHERE id = ?`).run(
        ...(Object.values(run) as Value[]).map(toColumn),
        id,
      );
    },

    version: async (line, version) =>
      toVersion(one("SELECT * FROM versions WHERE line = ? AND version = ?", line, version)),
    versionOfRun: async (line, runId, artifactDigest) =>
      toVersion(
        one(
          "SELECT * FROM versions WHERE line = ? AND run_id = ? AND artifact_digest = ?",
          line,
          runId,
          artifactDigest,
        ),
      ),
    versions: async (line) =>
      all("SELECT * FROM versions WHERE line = ? ORDER BY version", line).map(
        (row) => toVersion(row) as VersionRow,
      ),
    addVersion: async (version) => insert("versions", version),

    aspired: async (line) => {
      const row = one("SELECT * FROM aspired WHERE line = ? ORDER BY generation DESC LIMIT 1", line);
      return row === null ? null : toAspired(row);
    },
    history: async (line) =>
      all("SELECT * FROM aspired WHERE line = ? ORDER BY generation", line).map(toAspired),
    addAspired: async ({ models, ...aspired }) => {
      insert("aspired", aspired);
      const { line, generation } = aspired;
      for (const { version, role } of models) insert("aspired_models", { line, generation, version, role });
    },

    pendingChanges: async (limit) =>
      all("SELECT * FROM outbox ORDER BY seq LIMIT ?", limit).map(
        (row): PendingChange => ({
          seq: row["seq"] as number,
          change: JSON.parse(row["changeJson"] as string) as RegistryChange,
          traceparent: row["traceparent"] as string,
        }),
      ),
    addChange: async (change, traceparent) => insert("outbox", { changeJson: change, traceparent }),
    dropChanges: async (seq) => void prepare("DELETE FROM outbox WHERE seq <= ?").run(seq),
  };
}

function toCheckpoint({ seq: _order, offsets, ...row }: Row): CheckpointRow {
  return {
    ...(row as unknown as CheckpointRow),
    offsets: JSON.parse(offsets as string) as CheckpointRow["offsets"],
  };
}

function toRun(row: Row | null): RunRow | null {
  if (row === null) return null;
  const { seq: _order, stageMs, ...run } = row;
  return { ...(run as unknown as RunRow), stageMs: JSON.parse(stageMs as string) as RunRow["stageMs"] };
}

function toVersion(row: Row | null): VersionRow | null {
  if (row === null) return null;
  const { passed, featureNames, ...version } = row;
  return {
    ...(version as unknown as VersionRow),
    passed: passed === 1,
    featureNames: JSON.parse(featureNames as string) as string[],
  };
}

function toColumn(value: Value): SQLInputValue {
  if (typeof value === "boolean") return value ? 1 : 0;
  return typeof value === "object" ? JSON.stringify(value) : value;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
