import { Rejection, readField, toMinorUnits } from "@millrace/events";
import type { FieldDefinition, LineDefinition, StreamDefinition } from "@millrace/lines";
import { type FieldValues, isText, type Questions, questionError } from "./questions.ts";

type Column = Float32Array | Float64Array | readonly (string | null)[];

/** A table of somebody's, out of a file. The adapter is `libs/parquet`. */
export interface QuestionTable {
  readonly columns: readonly {
    readonly name: string;
    readonly kind: "number" | "boolean" | "text" | "time" | "other";
    /** As people call its type. */
    readonly type: string;
  }[];
  /** Numbers, booleans as 0 or 1, times in ms: NaN where unknown; texts: null. */
  read(names: readonly string[]): Promise<Readonly<Record<string, Column>>>;
}

/** The column of a table of questions that says by when (wall clock) events had to be accepted. */
export const KNOWN_AT = "known_at";

const KNOWN_AT_FIELD: FieldDefinition = { type: "time" };

/** Kinds of columns that a field's values may be in. A time may be a number of ms, or a text with a zone. */
const KINDS: Readonly<Record<FieldDefinition["type"], readonly string[]>> = {
  text: ["text"],
  category: ["text"],
  number: ["number"],
  integer: ["number"],
  decimal: ["number"],
  boolean: ["boolean"],
  time: ["time", "number", "text"],
  blob: [],
};

/**
 * Reads questions out of a table: columns with the names of fields of the stream predicted on are those fields, checked
 * as in an event; its time and key must be among them; `known_at` may be. Other columns are not looked at, and neither
 * is what belongs into the object store. Throws a RangeError for columns that are missing or of another type, and a
 * QuestionError for the first value that the stream would refuse.
 */
export async function readQuestions(
  { predict, streams }: Pick<LineDefinition, "predict" | "streams">,
  table: QuestionTable,
): Promise<Questions> {
  const stream = streams[predict.on] as StreamDefinition;
  const named = new Set(table.columns.map(({ name }) => name));
  const required = [[stream.time, "the event time"], ...stream.key.map((name) => [name, "a key field"])];
  for (const [name, what] of required as [string, string][]) {
    if (!named.has(name)) {
      throw new RangeError(`there is no column "${name}", ${what} of stream "${predict.on}"`);
    }
  }
  const wanted = Object.entries(stream.fields).filter(
    ([name, { type }]) => named.has(name) && type !== "blob",
  );
  const definitions = new Map<string, FieldDefinition>(wanted);
  if (named.has(KNOWN_AT) && !definitions.has(KNOWN_AT)) definitions.set(KNOWN_AT, KNOWN_AT_FIELD);
  for (const { name, kind, type } of table.columns) {
    const definition = definitions.get(name);
    if (definition !== undefined && !KINDS[definition.type].includes(kind)) {
      throw new RangeError(`column "${name}" is ${type}, declared as ${definition.type}`);
    }
  }
  const columns = await table.read([...definitions.keys()]);
  const read = (name: string): FieldValues => {
    const kind = table.columns.find((column) => column.name === name)?.kind;
    const definition = definitions.get(name) as FieldDefinition;
    return checkValues(name, definition, columns[name] as Column, kind === "boolean");
  };
  const knownAt = definitions.has(KNOWN_AT) ? (read(KNOWN_AT) as Float64Array) : null;
  return {
    times: read(stream.time) as Float64Array,
    knownAt,
    fields: Object.fromEntries(wanted.map(([name]) => [name, read(name)])),
  };
}

function checkValues(
  name: string,
  definition: FieldDefinition,
  column: Column,
  isFlag: boolean,
): FieldValues {
  const check = (row: number): string | number | null => {
    const given = column[row] as string | number | null;
    if (given === null || Number.isNaN(given)) return null;
    const value = readField(name, definition, isFlag ? given === 1 : given);
    if (value instanceof Rejection) throw questionError(row, `cannot be asked: ${value.detail}`);
    return typeof value === "object" ? null : typeof value === "boolean" ? Number(value) : value;
  };
  if (isText(definition)) {
    return Array.from({ length: column.length }, (_, row) => check(row) as string | null);
  }
  const numbers = new Float64Array(column.length);
  for (let row = 0; row < numbers.length; row++) {
    const value = check(row) as number | null;
    if (value === null) numbers[row] = Number.NaN;
    else numbers[row] = definition.type === "decimal" ? toMinorUnits(value, definition.scale) : value;
  }
  return numbers;
}
