import { createEventRow } from "@millrace/events";
import type { CodedRow, FeatureEngine, FeaturePlan } from "@millrace/features";
import { type FieldDefinition, isClaimed, type LineDefinition } from "@millrace/lines";
import type { CodedBatch, CodedKind } from "./scan-module.ts";

/** What a row takes from a column of the batch that is read. */
type FieldColumn = { readonly field: number; readonly name: string } & (
  | { readonly kind: "number"; readonly unit: number; values: Float64Array }
  /** Of a claim, the column of its SHA-256 has the text. */
  | { readonly kind: "text"; values: Int32Array; codes: Int32Array }
);

interface StreamColumns {
  readonly row: CodedRow;
  readonly columns: readonly FieldColumn[];
}

const NO_NUMBERS = new Float64Array(0);
const NO_CODES = new Int32Array(0);
const NAMES = /[A-Za-z_][A-Za-z0-9_]*/g;
const utf8 = new TextEncoder();

/**
 * Archived events as rows for a feature engine: like `EventColumns`, but only what the features look at, and texts as
 * the engine's codes, which are asked for once for each different text. The engine keeps these texts.
 */
export class EventCodes {
  readonly schema: Readonly<Record<string, CodedKind>>;
  readonly #engine: FeatureEngine;
  readonly #streams: ReadonlyMap<string, StreamColumns>;
  #dictionaries: CodedBatch["dictionaries"] | null = null;
  /** By code of the column `stream`. */
  #byCode: readonly (StreamColumns | null)[] = [];
  #streamCodes: Int32Array = NO_CODES;
  #times: Float64Array = NO_NUMBERS;
  #acceptedAt: Float64Array = NO_NUMBERS;

  constructor(line: Pick<LineDefinition, "streams" | "features" | "label">, engine: FeatureEngine) {
    this.#engine = engine;
    const schema: Record<string, CodedKind> = { stream: "code", time: "float64", accepted_at: "float64" };
    this.#streams = new Map(
      Object.entries(line.streams).map(([name, stream], i) => {
        const looked = fieldsLookedAt(line, engine.plan, i);
        const columns = Object.entries(stream.fields).flatMap(([fieldName, definition], field) =>
          looked.has(fieldName) ? fieldColumns(field, `${name}.${fieldName}`, definition) : [],
        );
        for (const column of columns) schema[column.name] = column.kind === "text" ? "code" : "float64";
        const row = {
          ...createEventRow(name, stream),
          codes: new Int32Array(Object.keys(stream.fields).length),
        };
        return [name, { row, columns }];
      }),
    );
    this.schema = schema;
  }

  /** Goes on to the rows of a batch that was read by `schema`. */
  open({ columns, dictionaries }: CodedBatch): void {
    if (dictionaries !== this.#dictionaries) this.#takeDictionaries(dictionaries);
    this.#streamCodes = columns["stream"] as Int32Array;
    this.#times = columns["time"] as Float64Array;
    this.#acceptedAt = columns["accepted_at"] as Float64Array;
    for (const stream of this.#streams.values()) {
      for (const column of stream.columns) column.values = columns[column.name] as never;
    }
  }

  /**
   * The event of row `i`; null where it is of a stream that the line no longer has. The row is used again for the
   * stream's next event.
   */
  read(i: number): CodedRow | null {
    const stream = this.#byCode[this.#streamCodes[i] as number] ?? null;
    if (stream === null) return null;
    const { row, columns } = stream;
    row.time = this.#times[i] as number;
    row.acceptedAtMs = this.#acceptedAt[i] as number;
    for (let j = 0; j < columns.length; j++) {
      const column = columns[j] as FieldColumn;
      if (column.kind === "number") {
        const value = column.values[i] as number;
        row.numbers[column.field] = column.unit === 1 ? value : Math.round(value * column.unit) + 0;
      } else {
        const code = column.codes[column.values[i] as number] as number;
        // A text and its claim are two columns, of which one has a value.
        if (j > 0 && columns[j - 1]?.field === column.field && code === 0) continue;
        row.codes[column.field] = code;
      }
    }
    return row;
  }

  #takeDictionaries(dictionaries: CodedBatch["dictionaries"]): void {
    this.#dictionaries = dictionaries;
    this.#byCode = [null, ...textsOf(dictionaries, "stream").map((name) => this.#streams.get(name) ?? null)];
    for (const { columns } of this.#streams.values()) {
      for (const column of columns) {
        if (column.kind === "text") column.codes = this.#codesOf(textsOf(dictionaries, column.name));
      }
    }
  }

  #codesOf(texts: readonly string[]): Int32Array {
    const codes = new Int32Array(texts.length + 1);
    texts.forEach((text, i) => {
      const bytes = utf8.encode(text);
      codes[i + 1] = this.#engine.intern(bytes, 0, bytes.length);
    });
    return codes;
  }
}

function textsOf(dictionaries: CodedBatch["dictionaries"], name: string): readonly string[] {
  return dictionaries[name] ?? [];
}

function fieldColumns(field: number, name: string, definition: FieldDefinition): FieldColumn[] {
  const text = (column: string): FieldColumn => {
    return { kind: "text", field, name: column, values: NO_CODES, codes: NO_CODES };
  };
  const number = (unit: number): FieldColumn => ({ kind: "number", field, name, unit, values: NO_NUMBERS });
  switch (definition.type) {
    case "blob":
      return [text(`${name}.sha256`)];
    case "text":
      return isClaimed(definition) ? [text(name), text(`${name}.sha256`)] : [text(name)];
    case "category":
      return [text(name)];
    case "decimal":
      return [number(10 ** definition.scale)];
    default:
      return [number(1)];
  }
}

/** Names of the fields of the i-th stream's events that the features look at. */
function fieldsLookedAt(
  { streams, features, label }: Pick<LineDefinition, "streams" | "features" | "label">,
  plan: FeaturePlan,
  i: number,
): ReadonlySet<string> {
  const { name, fields, looked, inputs, conditions } = plan.streams[i] as FeaturePlan["streams"][number];
  const numbers = [...looked, ...inputs.map(({ field }) => field)];
  const names = numbers.map((field) => fields[field]?.[0] as string);
  if (conditions.length > 0) {
    // Whatever looks like a name in a condition may be a field of that name.
    const wheres = features.flatMap((one) => ("where" in one && one.from === name ? [one.where ?? ""] : []));
    names.push(...wheres.flatMap((where) => where.match(NAMES) ?? []));
    if (label?.from === name) names.push(label.positive.field);
  }
  return new Set(names.filter((one) => Object.hasOwn(streams[name]?.fields ?? {}, one)));
}
