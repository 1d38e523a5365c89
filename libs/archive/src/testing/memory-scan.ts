import type { CodedBatch, CodedSchema, ReplayScan } from "../scan-module.ts";

/** A row of an archive's file, by column; what is not there is unknown. */
export type Row = Readonly<Record<string, string | number | null>>;

const BATCH_ROWS = 7;

/** The port over rows in memory: each file is a list of rows. Dictionaries have the newest texts first. */
export function memoryScan(files: Readonly<Record<string, readonly Row[]>>): Pick<ReplayScan, "scanCoded"> {
  return {
    async *scanCoded(names, schema, { where, orderBy, groups }) {
      const number = (row: Row, name: string): number =>
        (row[name] as number | null | undefined) ?? Number.NaN;
      const kept = names
        .flatMap((name) => files[name] as readonly Row[])
        .filter((row) =>
          where.every(
            ({ column, atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY }) =>
              number(row, column) >= atLeast && number(row, column) <= atMost,
          ),
        );
      const dictionaries = dictionariesOf(kept, schema, groups?.by ?? []);
      const valueOf = (row: Row, name: string): number =>
        schema[name] === "code"
          ? (dictionaries[name] as readonly string[]).indexOf(String(row[name] ?? "\0")) + 1
          : number(row, name);
      const groupOf = (row: Row): number => {
        if (groups === undefined) return 0;
        const known = groups.by.find((name) => (row[name] ?? null) !== null);
        const value = known === undefined ? 0 : valueOf(row, known);
        return ((value % groups.count) + groups.count) % groups.count;
      };
      const order = (a: Row, b: Row): number =>
        orderBy.reduce((sign, name) => sign || number(a, name) - number(b, name), groupOf(a) - groupOf(b));
      const sorted = kept.toSorted(order);
      for (let from = 0; from < sorted.length; from += BATCH_ROWS) {
        const rows = sorted.slice(from, from + BATCH_ROWS);
        const columns = Object.entries(schema).map(([name, kind]) => {
          const values = rows.map((row) => valueOf(row, name));
          return [name, kind === "code" ? Int32Array.from(values) : Float64Array.from(values)] as const;
        });
        yield { rows: rows.length, columns: Object.fromEntries(columns), dictionaries };
      }
    },
  };
}

function dictionariesOf(
  rows: readonly Row[],
  schema: CodedSchema,
  shared: readonly string[],
): CodedBatch["dictionaries"] {
  const texts = (names: readonly string[]): readonly string[] => {
    const all = rows.flatMap((row) => names.map((name) => row[name] ?? null));
    return [...new Set(all.filter((text) => text !== null).map(String))].reverse();
  };
  const together = texts(shared);
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([, kind]) => kind === "code")
      .map(([name]) => [name, shared.includes(name) ? together : texts([name])]),
  );
}
