import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type CodedBatch,
  type CodedScanOptions,
  type CodedSchema,
  openParquet,
  type Parquet,
} from "./index.ts";

let folder: string;
let parquet: Parquet;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "coded-scan-"));
  parquet = await openParquet({ memoryMb: 256, threads: 2, scratch: join(folder, "scratch") });
});
afterAll(() => {
  parquet.close();
  rmSync(folder, { recursive: true });
});

const file = (name: string): string => join(folder, name);
const whole = (...values: number[]): { kind: "integer"; values: Float64Array } => ({
  kind: "integer",
  values: Float64Array.from(values),
});
const text = (...values: (string | null)[]): { kind: "text"; values: (string | null)[] } => ({
  kind: "text",
  values,
});

/** All rows, with the texts that the codes stand for. */
async function rowsOf(
  files: readonly string[],
  schema: CodedSchema,
  options: CodedScanOptions = {},
): Promise<Record<string, number | string | null>[]> {
  const rows: Record<string, number | string | null>[] = [];
  for await (const batch of parquet.scanCoded(files, schema, options)) {
    for (let i = 0; i < batch.rows; i++) rows.push(spelt(batch, schema, i));
  }
  return rows;
}

function spelt(
  batch: CodedBatch<CodedSchema>,
  schema: CodedSchema,
  i: number,
): Record<string, number | string | null> {
  const values = Object.keys(schema).map((name) => {
    const value = batch.columns[name]?.[i] as number;
    if (schema[name] === "float64") return [name, Number.isNaN(value) ? null : value] as const;
    return [name, value === 0 ? null : (batch.dictionaries[name]?.[value - 1] ?? "no such text")] as const;
  });
  return Object.fromEntries(values);
}

describe("scanCoded", () => {
  it("reads texts as codes, and what a file lacks as unknown, in the order of the files", async () => {
    await parquet.write(file("old.parquet"), { time: whole(3, 1), who: text("b", null) });
    await parquet.write(file("new.parquet"), {
      time: whole(2, 3),
      who: text("a", "b"),
      what: text("x", "x"),
      n: { kind: "decimal", scale: 2, values: Float64Array.of(1_250, Number.NaN) },
    });
    const files = [file("old.parquet"), file("new.parquet")];
    const schema = {
      time: "float64",
      who: "code",
      what: "code",
      n: "float64",
      none: "code",
      nan: "float64",
    } as const;
    const rest = { none: null, nan: null };
    expect(await rowsOf(files, schema)).toEqual([
      { time: 3, who: "b", what: null, n: null, ...rest },
      { time: 1, who: null, what: null, n: null, ...rest },
      { time: 2, who: "a", what: "x", n: 12.5, ...rest },
      { time: 3, who: "b", what: "x", n: null, ...rest },
    ]);
    for await (const { dictionaries } of parquet.scanCoded(files, schema)) {
      expect(dictionaries).toMatchObject({ what: ["x"], none: [] });
      expect(new Set(dictionaries.who)).toEqual(new Set(["a", "b"]));
    }
  });

  it("sorts by several columns, and keeps to bounds", async () => {
    await parquet.write(file("sorted.parquet"), {
      time: whole(2, 1, 2, 9, 1),
      accepted: whole(7, 7, 5, 1, 6),
      who: text("a", "b", "c", "d", "e"),
    });
    const where = [{ column: "time", atLeast: 1, atMost: 2 }];
    const rows = await rowsOf(
      [file("sorted.parquet")],
      { who: "code" },
      { where, orderBy: ["time", "accepted"] },
    );
    expect(rows.map(({ who }) => who)).toEqual(["e", "b", "c", "a"]);
  });

  it("gives group after group, by texts that columns share, or by whole numbers below 0 too", async () => {
    const names = Array.from({ length: 40 }, (_, i) => `n${i % 13}`);
    await parquet.write(file("groups.parquet"), {
      time: whole(...names.map((_, i) => 100 - i)),
      "a.who": text(...names.map((name, i) => (i % 2 === 0 ? name : null))),
      "b.who": text(...names.map((name, i) => (i % 2 === 1 && i !== 7 ? name : null))),
      n: whole(...names.map((_, i) => (i % 11) - 5)),
    });
    const files = [file("groups.parquet")];
    const schema = { time: "float64", "a.who": "code", "b.who": "code" } as const;
    const by = ["a.who", "b.who"];
    const seen: [group: number, time: number][] = [];
    for await (const batch of parquet.scanCoded(files, schema, {
      orderBy: ["time"],
      groups: { by, count: 4 },
    })) {
      expect(batch.dictionaries["a.who"]).toBe(batch.dictionaries["b.who"]);
      batch.columns.time.forEach((time, i) => {
        const code = batch.columns["a.who"][i] || (batch.columns["b.who"][i] as number);
        seen.push([code % 4, time]);
      });
    }
    expect(seen).toHaveLength(40);
    expect(seen).toEqual(seen.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]));

    const numbers = { time: "float64", n: "float64" } as const;
    const rows = await rowsOf(files, numbers, { orderBy: ["time"], groups: { by: ["n"], count: 3 } });
    const placed = rows.map(({ n, time }) => [(((n as number) % 3) + 3) % 3, time as number] as const);
    expect(placed).toEqual(placed.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]));
  });

  it("keeps the order of large files over all batches", async () => {
    const rows = 300_000;
    const place = Float64Array.from({ length: rows }, (_, i) => i);
    await parquet.write(file("large.parquet"), { place: { kind: "integer", values: place } });
    let next = 0;
    for await (const { columns } of parquet.scanCoded([file("large.parquet")], { place: "float64" })) {
      for (const value of columns.place) if (value !== next++) throw new Error(`${value} is not ${next - 1}`);
    }
    expect(next).toBe(rows);
  });

  it("ends with the signal's reason, also in the midst of a query", async () => {
    const files = [file("large.parquet")];
    const stopped = parquet.scanCoded(files, { place: "float64" }, { signal: AbortSignal.abort("before") });
    await expect(stopped.next()).rejects.toBe("before");
    const stop = new AbortController();
    const scan = parquet.scanCoded(files, { place: "code" }, { orderBy: ["place"], signal: stop.signal });
    const first = scan.next();
    setTimeout(() => stop.abort("during"), 20);
    await expect(first).rejects.toBe("during");
    expect(
      (await rowsOf(files, { place: "float64" }, { where: [{ column: "place", below: 3 }] })).length,
    ).toBe(3);
  });

  it("frees what it used when the loop ends early", async () => {
    for (let i = 0; i < 3; i++) {
      for await (const batch of parquet.scanCoded([file("large.parquet")], { place: "float64" })) {
        expect(batch.rows).toBeGreaterThan(0);
        break;
      }
    }
  });
});
