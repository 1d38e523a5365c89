import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openParquet, type Parquet, TableFileError } from "./index.ts";

let folder: string;
let parquet: Parquet;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "table-file-"));
  parquet = await openParquet({ memoryMb: 256, threads: 2, scratch: join(folder, "scratch") });
});
afterAll(() => {
  parquet.close();
  rmSync(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);

async function run(sql: string): Promise<void> {
  for await (const batch of parquet.queryBatches(sql)) expect(batch.rows).toBe(1);
}

describe("a table in a file", () => {
  it("is read from CSV by the types of its values, but for texts that look like numbers", async () => {
    writeFileSync(
      file("q.csv"),
      [
        "id,account,at,label,ok,note",
        "a,000123,2024-01-01T00:00:00Z,1,true,",
        'b,000124,2024-01-01T02:00:00.5+02:00,0.5,false,"x, y"',
      ].join("\n"),
    );
    const table = await parquet.openTable(file("q.csv"), ["account", "nowhere"]);
    expect(table.columns.map(({ name, kind }) => [name, kind])).toEqual([
      ["id", "text"],
      ["account", "text"],
      ["at", "time"],
      ["label", "number"],
      ["ok", "boolean"],
      ["note", "text"],
    ]);
    expect(await table.read(["account", "at", "label", "ok", "note"])).toEqual({
      account: ["000123", "000124"],
      at: Float64Array.of(1_704_067_200_000, 1_704_067_200_500),
      label: Float64Array.of(1, 0.5),
      ok: Float64Array.of(1, 0),
      note: [null, "x, y"],
    });
    expect(await table.read([])).toEqual({});
    await expect(table.read(["nowhere"])).rejects.toThrow('no column "nowhere"');
  });

  it("is read from Parquet; what has no form is named by its type", async () => {
    const sql = `COPY (SELECT [1] AS list, DATE '2024-01-01' AS day, TIMESTAMP_NS '2024-01-01 00:00:00.001' AS ns, 1::UTINYINT AS n)
      TO '${file("types.parquet")}' (FORMAT parquet)`;
    await run(sql);
    const table = await parquet.openTable(file("types.parquet"));
    expect(table.columns).toEqual([
      { name: "list", kind: "other", type: "INTEGER[]" },
      { name: "day", kind: "time", type: "DATE" },
      { name: "ns", kind: "time", type: "TIMESTAMP_NS" },
      { name: "n", kind: "number", type: "UTINYINT" },
    ]);
    expect(await table.read(["day", "ns"])).toEqual({
      day: Float64Array.of(1_704_067_200_000),
      ns: Float64Array.of(1_704_067_200_001),
    });
    await expect(table.read(["list"])).rejects.toThrow("INTEGER[]");
  });

  it.each<[string, string | null, RegExp]>([
    ["missing.parquet", null, /there is no file/],
    ["text.parquet", "no Parquet at all", /cannot be read: /],
    ["table.xlsx", "x", /neither a .parquet nor a .csv file/],
  ])("%s is refused", async (name, content, message) => {
    if (content !== null) writeFileSync(file(name), content);
    await expect(parquet.openTable(file(name))).rejects.toThrow(TableFileError);
    await expect(parquet.openTable(file(name))).rejects.toThrow(message);
  });

  it("is written with further columns beside the chosen rows, whose own ones stay as they are", async () => {
    const rows = 150_000;
    const sql = `COPY (SELECT range AS n, 't' || range AS t, make_timestamp(range) AS at, -1.5 AS Old FROM range(${rows}))
      TO '${file("many.parquet")}' (FORMAT parquet)`;
    await run(sql);
    const table = await parquet.openTable(file("many.parquet"));
    const chosen = Float64Array.from({ length: rows / 3 }, (_, i) => 3 * i);
    const kept = Uint8Array.from({ length: rows }, (_, row) => (row % 3 === 0 ? 1 : 0));
    await table.writeWith(file("out.parquet"), kept, {
      old: { kind: "float64", values: chosen.map((row) => (row === 3 ? Number.NaN : row / 2)) },
      more: { kind: "text", values: Array.from(chosen, String) },
      less: { kind: "float32", values: Float32Array.from(chosen) },
    });
    const out = await parquet.openTable(file("out.parquet"));
    expect(out.columns.map(({ name, type }) => [name, type])).toEqual([
      ["n", "BIGINT"],
      ["t", "VARCHAR"],
      ["at", "TIMESTAMP"],
      ["old", "DOUBLE"],
      ["more", "VARCHAR"],
      ["less", "FLOAT"],
    ]);
    const { n, t, old, more } = await out.read(["n", "t", "old", "more"]);
    expect(n).toEqual(chosen);
    expect(t).toEqual(Array.from(chosen, (row) => `t${row}`));
    expect(more).toEqual(Array.from(chosen, String));
    expect(old?.[1]).toBeNaN();
    expect(old?.[2]).toBe(3);
    await table.writeWith(file("all.parquet"), null, {
      row: { kind: "integer", values: Float64Array.from(Array(rows).keys()) },
    });
    const all = await (await parquet.openTable(file("all.parquet"))).read(["n", "row"]);
    expect(all["n"]).toEqual(all["row"]);
    expect(all["n"]?.length).toBe(rows);
  });
});
