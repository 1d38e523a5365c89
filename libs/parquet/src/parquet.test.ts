import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openParquet, type Parquet, quoteFiles, quoteName, quoteText, rowMajor } from "./index.ts";

let folder: string;
let parquet: Parquet;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parquet-"));
  parquet = await openParquet({ memoryMb: 256, threads: 2, scratch: join(folder, "scratch") });
});
afterAll(() => {
  parquet.close();
  rmSync(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);
const times = (...values: number[]): { kind: "integer"; values: Float64Array } => ({
  kind: "integer",
  values: Float64Array.from(values),
});
const floats = (...values: number[]): { kind: "float32"; values: Float32Array } => ({
  kind: "float32",
  values: Float32Array.from(values),
});

describe("write and read", () => {
  it("keeps every value, order and unknown over more than one chunk", async () => {
    const rows = 5_000;
    const id = Array.from({ length: rows }, (_, i) => (i % 11 === 0 ? null : `id ${i} 'quoted' \u{1F6EB}`));
    const time = Float64Array.from({ length: rows }, (_, i) => 1_700_000_000_000 + i);
    const f = Float32Array.from({ length: rows }, (_, i) => (i % 7 === 0 ? Number.NaN : Math.fround(i / 3)));
    const d = Float64Array.from({ length: rows }, (_, i) => (i % 5 === 0 ? Number.NaN : i / 3));
    await parquet.write(file("all.parquet"), {
      id: { kind: "text", values: id },
      time: { kind: "integer", values: time },
      'f "0"': { kind: "float32", values: f },
      d: { kind: "float64", values: d },
    });
    const table = await parquet.read([file("all.parquet")], {
      id: "text",
      time: "float64",
      'f "0"': "float32",
      d: "float64",
    });
    expect(table.rows).toBe(rows);
    expect(table.columns).toEqual({ id, time, 'f "0"': f, d });
  });

  it("stores whole numbers as BIGINT and unknown as NULL, for other readers of the file", async () => {
    await parquet.write(file("types.parquet"), { time: times(1, Number.NaN), f: floats(0.5, Number.NaN) });
    const [batch] = await collect(
      `SELECT typeof(time) AS t, typeof(f) AS f, CAST(time IS NULL AS INTEGER) + CAST(f IS NULL AS INTEGER) AS nulls FROM ${quoteFiles([file("types.parquet")])}`,
    );
    expect(batch?.columns).toEqual({
      t: ["BIGINT", "BIGINT"],
      f: ["FLOAT", "FLOAT"],
      nulls: Float64Array.from([0, 2]),
    });
  });

  it("stores booleans and decimals as other readers know them, exactly", async () => {
    const minor = Float64Array.from([0, 1234, -1, 2 ** 51 - 1, 1 - 2 ** 51, Number.NaN]);
    const columns = [0, 2, 9].map(
      (scale) => [`d${scale}`, { kind: "decimal", scale, values: minor }] as const,
    );
    const flags = { kind: "boolean", values: Float64Array.from([0, 1, 1, 0, 1, Number.NaN]) } as const;
    await parquet.write(file("exact.parquet"), { ...Object.fromEntries(columns), flag: flags });
    const [batch] = await collect(
      `SELECT typeof(d2) AS t, CAST(d2 AS VARCHAR) AS d2, CAST(d9 AS VARCHAR) AS d9, typeof(flag) AS f FROM ${quoteFiles([file("exact.parquet")])}`,
    );
    expect(batch?.columns).toMatchObject({
      t: new Array(6).fill("DECIMAL(18,2)"),
      d2: ["0.00", "12.34", "-0.01", "22517998136852.47", "-22517998136852.47", null],
      f: new Array(6).fill("BOOLEAN"),
    });
    expect(batch?.columns["d9"]?.[3]).toBe("2251799.813685247");
    const table = await parquet.read([file("exact.parquet")], {
      d0: "float64",
      d2: "float64",
      d9: "float64",
      flag: "float64",
    });
    expect(table.columns.d0).toEqual(minor);
    expect(table.columns.d2).toEqual(minor.map((units) => units / 100));
    expect(table.columns.d9).toEqual(minor.map((units) => units / 1e9));
    expect(table.columns.flag).toEqual(flags.values);
    const [as] = await collect(`SELECT d2 FROM ${quoteFiles([file("exact.parquet")])}`);
    expect(as?.columns["d2"]).toEqual(minor.map((units) => units / 100));
    const wrong = { kind: "decimal", scale: 10, values: minor } as const;
    await expect(parquet.write(file("no.parquet"), { wrong })).rejects.toThrow(RangeError);
  });

  it("reads the chosen columns of several files in their order", async () => {
    await parquet.write(file("b.parquet"), { time: times(3, 1), x: floats(30, 10) });
    await parquet.write(file("a.parquet"), { time: times(2, 4), x: floats(20, 40) });
    const files = [file("b.parquet"), file("a.parquet")];
    expect((await parquet.read(files, { x: "float32" })).columns.x).toEqual(
      Float32Array.from([30, 10, 20, 40]),
    );
    const sorted = await parquet.read(files, { time: "float64", x: "float32" }, { orderBy: ["time"] });
    expect(sorted.columns.x).toEqual(Float32Array.from([10, 20, 30, 40]));
  });

  it("keeps rows within all bounds and drops unknown ones", async () => {
    await parquet.write(file("bounds.parquet"), {
      time: times(1, 2, 3, 4, Number.NaN),
      known: times(9, 9, 5, 5, 5),
    });
    const read = async (where: Parameters<Parquet["read"]>[2]): Promise<number[]> => [
      ...(await parquet.read([file("bounds.parquet")], { time: "float64" }, where)).columns.time,
    ];
    expect(await read({ where: [{ column: "time", atLeast: 2, below: 4 }] })).toEqual([2, 3]);
    expect(
      await read({
        where: [
          { column: "time", atLeast: 2 },
          { column: "known", atMost: 5 },
        ],
      }),
    ).toEqual([3, 4]);
    expect(await read({ where: [{ column: "time", below: 1.7e12 }] })).toEqual([1, 2, 3, 4]);
    await expect(read({ where: [{ column: "time", below: Number.NaN }] })).rejects.toThrow(RangeError);
  });

  it("equal columns give equal bytes, nothing is left beside the file, and it is replaced", async () => {
    const columns = {
      x: { kind: "float32", values: Float32Array.from({ length: 300_000 }, (_, i) => i) },
    } as const;
    await parquet.write(file("same.parquet"), { x: floats(1) });
    await parquet.write(file("same.parquet"), columns);
    const first = readFileSync(file("same.parquet"));
    await parquet.write(file("same.parquet"), columns);
    expect(readFileSync(file("same.parquet")).equals(first)).toBe(true);
    expect(readdirSync(folder).filter((name) => name.includes("same"))).toEqual(["same.parquet"]);
  });

  it("writes and reads no rows", async () => {
    await parquet.write(file("empty.parquet"), { id: { kind: "text", values: [] }, x: floats() });
    const table = await parquet.read([file("empty.parquet")], { id: "text", x: "float32" });
    expect(table).toEqual({ rows: 0, columns: { id: [], x: new Float32Array(0) } });
  });

  it("does several things at once", async () => {
    const many = Array.from({ length: 8 }, (_, i) => i);
    await Promise.all(many.map((i) => parquet.write(file(`many-${i}.parquet`), { x: floats(i) })));
    const tables = await Promise.all(
      many.map((i) => parquet.read([file(`many-${i}.parquet`)], { x: "float32" })),
    );
    expect(tables.map((table) => table.columns.x[0])).toEqual(many);
  });

  it("refuses columns of different lengths, no columns, missing files and missing columns", async () => {
    await expect(parquet.write(file("no.parquet"), { a: floats(1), b: floats(1, 2) })).rejects.toThrow(
      "column b has 2 rows",
    );
    await expect(parquet.write(file("no.parquet"), {})).rejects.toThrow(RangeError);
    expect(existsSync(file("no.parquet"))).toBe(false);
    await expect(parquet.read([file("missing.parquet")], { x: "float32" })).rejects.toThrow(
      "missing.parquet",
    );
    await expect(parquet.read([file("a.parquet")], { y: "float32" })).rejects.toThrow("y");
    await expect(parquet.read([], { y: "float32" })).rejects.toThrow("no files");
  });
});

describe("queryBatches", () => {
  it("streams in batches and binds parameters", async () => {
    const batches = await collect("SELECT range AS n, 'x' AS t FROM range(10000) WHERE range >= ?", [5]);
    expect(batches.length).toBeGreaterThan(1);
    expect(batches.flatMap((batch) => [...(batch.columns.n as Float64Array)])).toEqual(
      Array.from({ length: 9_995 }, (_, i) => i + 5),
    );
  });

  it("ends the query when the loop ends early", async () => {
    for await (const batch of parquet.queryBatches("SELECT range AS n FROM range(100000000000)")) {
      expect(batch.columns.n?.[0]).toBe(0);
      break;
    }
  });

  it("refuses types that have no form in memory", async () => {
    await expect(collect("SELECT DATE '2020-01-01' AS d")).rejects.toThrow("column d is DATE");
  });

  it("keeps to its memory limit and its locked settings", async () => {
    await expect(collect("SELECT * FROM (SELECT string_agg(range) FROM range(200000000))")).rejects.toThrow(
      /memory/i,
    );
    await expect(collect("SET memory_limit = '8GB'")).rejects.toThrow(/lock/i);
  });
});

describe("paths and names", () => {
  it("are quoted", async () => {
    expect(quoteText("it's")).toBe("'it''s'");
    expect(quoteName('a"b')).toBe('"a""b"');
    await parquet.write(file("it's.parquet"), { x: floats(1) });
    expect((await parquet.read([file("it's.parquet")], { x: "float32" })).rows).toBe(1);
  });

  it("cannot be patterns, addresses or cut short", async () => {
    expect(() => quoteFiles(["a*.parquet"])).toThrow("pattern");
    expect(() => quoteFiles(["a[1].parquet"])).toThrow("pattern");
    expect(quoteFiles(["s3://bucket/x.parquet"])).toContain(`'${process.cwd()}/s3:/bucket/x.parquet'`);
    expect(() => quoteText("a\0b")).toThrow(RangeError);
    expect(() => quoteName("")).toThrow(RangeError);
  });
});

describe("rowMajor", () => {
  it("puts columns side by side", () => {
    expect(rowMajor([Float32Array.from([1, 2]), Float32Array.from([3, 4])], 2)).toEqual(
      Float32Array.from([1, 3, 2, 4]),
    );
  });
});

describe("close", () => {
  it("may be repeated and refuses what comes after", async () => {
    const other = await openParquet({ memoryMb: 64, threads: 1, scratch: file("scratch-2") });
    other.close();
    other.close();
    await expect(other.read(["x"], { x: "float32" })).rejects.toThrow("closed");
  });

  it("ends queries that are still running, with an error", async () => {
    const other = await openParquet({ memoryMb: 64, threads: 1, scratch: file("scratch-3") });
    const running = other
      .queryBatches("SELECT count(*) AS n FROM range(1000000000000) WHERE range % 7 = 3")
      .next();
    setTimeout(() => other.close(), 50);
    await expect(running).rejects.toThrow(/interrupt/i);
    await expect(other.queryBatches("SELECT 1 AS one").next()).rejects.toThrow("closed");
  });
});

async function collect(
  sql: string,
  parameters?: number[],
): Promise<{ rows: number; columns: Record<string, unknown> & Record<string, ArrayLike<unknown>> }[]> {
  const batches: { rows: number; columns: Record<string, ArrayLike<unknown>> }[] = [];
  for await (const batch of parquet.queryBatches(sql, parameters)) batches.push(batch);
  return batches;
}
