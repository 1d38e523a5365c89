import { createEventRow, type EventRow, toMinorUnits } from "@millrace/events";
import { isClaimed, type LineDefinition } from "@millrace/lines";

/** Kinds in which columns of a Parquet file are read: NaN and null are unknown. */
export type ColumnKind = "float64" | "text";
export type ColumnBatch = Readonly<Record<string, Float64Array | readonly (string | null)[]>>;

type FieldColumn = { readonly field: number } & (
  | { readonly kind: "number"; readonly name: string }
  | { readonly kind: "decimal"; readonly name: string; readonly scale: number }
  /** `digest`: the column with the SHA-256 of those values that are claims. */
  | { readonly kind: "text"; readonly name: string | null; readonly digest: string | null }
);

interface StreamColumns {
  readonly row: EventRow;
  readonly columns: readonly FieldColumn[];
}

const TEXT_BYTES = 1024;

/**
 * The columns in which ingest archives a line's events, read back as rows: `id`, `stream`, `time`, `accepted_at`,
 * `offset`, and `STREAM.FIELD` for each declared field; a column that a file lacks, because the field was declared
 * later, is unknown.
 */
export class EventColumns {
  readonly schema: Readonly<Record<string, ColumnKind>>;
  readonly #streams: ReadonlyMap<string, StreamColumns>;
  readonly #text = new TextEncoder();
  #bytes: Uint8Array = new Uint8Array(TEXT_BYTES);

  constructor({ streams }: Pick<LineDefinition, "streams">) {
    const schema: Record<string, ColumnKind> = {
      stream: "text",
      time: "float64",
      accepted_at: "float64",
      offset: "float64",
    };
    this.#streams = new Map(
      Object.entries(streams).map(([name, stream]) => {
        const columns = Object.entries(stream.fields).map(([fieldName, definition], field): FieldColumn => {
          const column = `${name}.${fieldName}`;
          switch (definition.type) {
            case "text":
            case "category":
              return {
                kind: "text",
                field,
                name: column,
                digest: isClaimed(definition) ? `${column}.sha256` : null,
              };
            case "blob":
              return { kind: "text", field, name: null, digest: `${column}.sha256` };
            case "decimal":
              return { kind: "decimal", field, name: column, scale: definition.scale };
            default:
              return { kind: "number", field, name: column };
          }
        });
        for (const column of columns) {
          if (column.kind !== "text") schema[column.name] = "float64";
          else for (const one of [column.name, column.digest]) if (one !== null) schema[one] = "text";
        }
        return [name, { row: createEventRow(name, stream), columns }];
      }),
    );
    this.schema = schema;
  }

  /**
   * The event of row `i` of a batch; null where it is of a stream that the line no longer has. The row is used again
   * for the stream's next event.
   */
  read(batch: ColumnBatch, i: number): EventRow | null {
    const stream = this.#streams.get((batch["stream"] as readonly string[])[i] as string);
    if (stream === undefined) return null;
    const { row, columns } = stream;
    row.time = (batch["time"] as Float64Array)[i] as number;
    row.acceptedAtMs = (batch["accepted_at"] as Float64Array)[i] as number;
    let at = 0;
    for (const column of columns) {
      const { field } = column;
      row.starts[field] = -1;
      row.claims[field] = 0;
      if (column.kind !== "text") {
        const value = (batch[column.name] as Float64Array)[i] as number;
        row.numbers[field] = column.kind === "decimal" ? toMinorUnits(value, column.scale) : value;
        continue;
      }
      const digest = column.digest === null ? null : textAt(batch, column.digest, i);
      const text = digest ?? (column.name === null ? null : textAt(batch, column.name, i));
      if (text === null) continue;
      row.claims[field] = digest === null ? 0 : 1;
      row.starts[field] = at;
      at = this.#write(text, at);
      row.ends[field] = at;
    }
    row.bytes = this.#bytes;
    return row;
  }

  #write(text: string, at: number): number {
    // A UTF-16 unit has at most three bytes in UTF-8.
    if (at + 3 * text.length > this.#bytes.length) {
      const grown = new Uint8Array(2 * (at + 3 * text.length));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
    }
    return at + this.#text.encodeInto(text, this.#bytes.subarray(at)).written;
  }
}

function textAt(batch: ColumnBatch, name: string, i: number): string | null {
  return (batch[name] as readonly (string | null)[])[i] as string | null;
}
