import { createEventRow } from "@millrace/events";
import type { CodedRow, FeatureEngine } from "@millrace/features";
import { type FieldDefinition, isClaimed, type LineDefinition } from "@millrace/lines";
import { isText } from "./questions.ts";
import type { CodedBatch, CodedKind, CodedSchema } from "./scan-module.ts";

/** A field of a stream's rows, and the column that it is taken from, as the batch that is read has it. */
interface NumberColumn {
  readonly field: number;
  readonly name: string;
  readonly unit: number;
  values: Float64Array;
}

interface TextColumn {
  readonly field: number;
  readonly name: string;
  /** It has the SHA-256 of a field's claims; the column before it has the texts that are none. One of them is null. */
  readonly isSecond: boolean;
  values: Int32Array;
  dictionary: readonly string[];
  /** By the column's code: the engine's code, 0 where it was not asked for yet. */
  codes: Int32Array;
}

interface StreamColumns {
  readonly row: CodedRow;
  readonly numbers: readonly NumberColumn[];
  readonly texts: readonly TextColumn[];
}

const NO_NUMBERS = new Float64Array(0);
const NO_CODES = new Int32Array(0);
const NAMES = /[A-Za-z_][A-Za-z0-9_]*/g;
const utf8 = new TextEncoder();

/**
 * Archived events as rows for a feature engine: like `EventColumns`, but only what its features look at, which is not
 * when they were accepted, and texts as the engine's codes. Each different text is asked for once; the engine keeps it.
 */
export class EventCodes {
  /** The columns that it reads. */
  readonly schema: CodedSchema;
  readonly #streams: ReadonlyMap<string, StreamColumns>;
  #engine: FeatureEngine;
  #dictionaries: CodedBatch["dictionaries"] | null = null;
  /** By code of the column `stream`. */
  #byCode: readonly (StreamColumns | null)[] = [];
  #streamCodes: Int32Array = NO_CODES;
  #times: Float64Array = NO_NUMBERS;

  constructor(line: Pick<LineDefinition, "streams" | "features" | "label">, engine: FeatureEngine) {
    this.#engine = engine;
    const schema: Record<string, CodedKind> = { stream: "code", time: "float64" };
    this.#streams = new Map(
      Object.entries(line.streams).map(([name, stream], i) => {
        const looked = fieldsLookedAt(line, engine, i);
        const numbers: NumberColumn[] = [];
        const texts: TextColumn[] = [];
        Object.entries(stream.fields).forEach(([fieldName, definition], field) => {
          if (!looked.has(fieldName)) return;
          const column = `${name}.${fieldName}`;
          const isBlob = definition.type === "blob";
          if (!isText(definition)) numbers.push(numberColumn(field, column, definition));
          else if (!isBlob) texts.push(textColumn(field, column, false));
          if (isClaimed(definition)) texts.push(textColumn(field, `${column}.sha256`, !isBlob));
        });
        for (const column of numbers) schema[column.name] = "float64";
        for (const column of texts) schema[column.name] = "code";
        const codes = new Int32Array(Object.keys(stream.fields).length);
        return [name, { row: { ...createEventRow(name, stream), codes }, numbers, texts }];
      }),
    );
    this.schema = schema;
  }

  /** From now on rows are for another engine, of the same features. */
  use(engine: FeatureEngine): void {
    this.#engine = engine;
    for (const { texts } of this.#streams.values()) for (const column of texts) column.codes.fill(0);
  }

  /** Goes on to the rows of a batch that was read by `schema`. */
  open({ columns, dictionaries }: CodedBatch): void {
    if (dictionaries !== this.#dictionaries) this.#take(dictionaries);
    this.#streamCodes = columns["stream"] as Int32Array;
    this.#times = columns["time"] as Float64Array;
    for (const { numbers, texts } of this.#streams.values()) {
      for (const column of numbers) column.values = columns[column.name] as Float64Array;
      for (const column of texts) column.values = columns[column.name] as Int32Array;
    }
  }

  /**
   * The event of row `i`; null where it is of a stream that the line no longer has. The row is used again for the
   * stream's next event.
   */
  read(i: number): CodedRow | null {
    const stream = this.#byCode[this.#streamCodes[i] as number] ?? null;
    if (stream === null) return null;
    const { row, numbers, texts } = stream;
    row.time = this.#times[i] as number;
    for (let j = 0; j < numbers.length; j++) {
      const { field, unit, values } = numbers[j] as NumberColumn;
      row.numbers[field] = unit === 1 ? (values[i] as number) : Math.round((values[i] as number) * unit) + 0;
    }
    for (let j = 0; j < texts.length; j++) {
      const column = texts[j] as TextColumn;
      const code = column.values[i] as number;
      if (code === 0 && column.isSecond) continue;
      row.codes[column.field] = (column.codes[code] as number) || this.#codeOf(column, code);
    }
    return row;
  }

  #take(dictionaries: CodedBatch["dictionaries"]): void {
    const of = (name: string): readonly string[] => dictionaries[name] ?? [];
    this.#dictionaries = dictionaries;
    this.#byCode = [null, ...of("stream").map((name) => this.#streams.get(name) ?? null)];
    for (const { texts } of this.#streams.values()) {
      for (const column of texts) {
        column.dictionary = of(column.name);
        column.codes = new Int32Array(column.dictionary.length + 1);
      }
    }
  }

  #codeOf({ dictionary, codes }: TextColumn, code: number): number {
    if (code === 0) return 0;
    const bytes = utf8.encode(dictionary[code - 1]);
    const known = this.#engine.intern(bytes, 0, bytes.length);
    codes[code] = known;
    return known;
  }
}

function numberColumn(field: number, name: string, definition: FieldDefinition): NumberColumn {
  const unit = definition.type === "decimal" ? 10 ** definition.scale : 1;
  return { field, name, unit, values: NO_NUMBERS };
}

function textColumn(field: number, name: string, isSecond: boolean): TextColumn {
  return { field, name, isSecond, values: NO_CODES, dictionary: [], codes: NO_CODES };
}

/** Names of the fields of the i-th stream's events that the features look at. */
function fieldsLookedAt(
  { streams, features, label }: Pick<LineDefinition, "streams" | "features" | "label">,
  { plan }: FeatureEngine,
  i: number,
): ReadonlySet<string> {
  const { name, fields, looked, inputs, conditions } = plan.streams[i] as (typeof plan.streams)[number];
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
