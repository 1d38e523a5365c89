import type { FieldDefinition, LineDefinition, StreamDefinition } from "@millrace/lines";
import { partitionOf } from "@millrace/stream";

/** Values of a field, one for each question: numbers as an `EventRow` holds them (NaN: unknown), or texts. */
export type FieldValues = Float64Array | readonly (string | null)[];

/** What vectors are asked for: each question is of an entity, as of a time. */
export interface Questions {
  /** Float64Array [questions]: event time, ms. */
  readonly times: Float64Array;
  /** Float64Array [questions]: wall clock, ms, by which events had to be accepted; null: not given. */
  readonly knownAt: Float64Array | null;
  /** Fields of the stream predicted on, as far as they are given, by name. Its key fields must be. */
  readonly fields: Readonly<Record<string, FieldValues>>;
}

/** Questions that cannot be answered as they are: `row` is the first of them, of `count`. */
export class QuestionError extends Error {
  readonly row: number;
  readonly count: number;
  constructor(message: string, row: number, count: number) {
    super(message);
    this.name = "QuestionError";
    this.row = row;
    this.count = count;
  }
}

/** The questions of one partition. */
export interface PartitionQuestions extends Questions {
  /** Int32Array [questions of the partition]: their rows among all questions. */
  readonly rows: Int32Array;
}

/**
 * Divides questions among the partitions of a line's event log, by their keys, as producers do it. Throws a RangeError
 * for columns that do not fit the stream, and a QuestionError for a question without key or time.
 */
export function divideQuestions(
  line: Pick<LineDefinition, "partitions" | "predict" | "streams">,
  questions: Questions,
): ReadonlyMap<number, PartitionQuestions> {
  const stream = line.streams[line.predict.on] as StreamDefinition;
  checkColumns(line.predict.on, stream, questions);
  const { times, knownAt, fields } = questions;
  const keys = stream.key.map((name) => keyTexts(stream.fields[name] as FieldDefinition, fields[name]));
  const placeOf = new Map<string, number>();
  const rowsOf = new Map<number, number[]>();
  for (let row = 0; row < times.length; row++) {
    if (!Number.isFinite(times[row])) throw questionError(row, `has no ${stream.time}`);
    const parts = keys.map((textOf) => textOf(row));
    const missing = stream.key[parts.indexOf(null)];
    if (missing !== undefined) throw questionError(row, `has no ${missing}, which is its key`);
    const key = parts.join("|");
    const partition = placeOf.get(key) ?? partitionOf(key, line.partitions);
    placeOf.set(key, partition);
    const rows = rowsOf.get(partition);
    if (rows === undefined) rowsOf.set(partition, [row]);
    else rows.push(row);
  }
  return new Map(
    [...rowsOf].map(([partition, list]) => {
      const rows = Int32Array.from(list);
      const ours = Object.entries(fields).map(([name, values]) => [name, pick(values, rows)] as const);
      return [
        partition,
        {
          rows,
          times: pickNumbers(times, rows),
          knownAt: knownAt === null ? null : pickNumbers(knownAt, rows),
          fields: Object.fromEntries(ours),
        },
      ];
    }),
  );
}

/** One question that is wrong. */
export function questionError(row: number, problem: string): QuestionError {
  return new QuestionError(`question ${row + 1} ${problem}`, row, 1);
}

function checkColumns(
  name: string,
  { fields: definitions, key }: StreamDefinition,
  { times, knownAt, fields }: Questions,
): void {
  for (const one of key) {
    if (fields[one] === undefined)
      throw new RangeError(`the questions lack "${one}", the key of stream "${name}"`);
  }
  for (const [field, values] of Object.entries(fields)) {
    const definition = definitions[field];
    if (definition === undefined) throw new RangeError(`stream "${name}" has no field "${field}"`);
    if (isText(definition) !== Array.isArray(values)) {
      throw new RangeError(`field "${field}" of stream "${name}" is of type ${definition.type}`);
    }
  }
  for (const { length } of [...Object.values(fields), ...(knownAt === null ? [] : [knownAt])]) {
    if (length !== times.length) throw new RangeError(`${length} values for ${times.length} questions`);
  }
}

export function isText({ type }: FieldDefinition): boolean {
  return type === "text" || type === "category" || type === "blob";
}

/** The text of a field's value in a record key; null where it is not known. */
function keyTexts(
  definition: FieldDefinition,
  values: FieldValues | undefined,
): (row: number) => string | null {
  if (!(values instanceof Float64Array)) return (row) => values?.[row] ?? null;
  const unit = definition.type === "decimal" ? 10 ** definition.scale : 1;
  const isFlag = definition.type === "boolean";
  return (row) => {
    const value = values[row] as number;
    if (Number.isNaN(value)) return null;
    return isFlag ? String(value === 1) : String(value / unit);
  };
}

function pick(values: FieldValues, rows: Int32Array): FieldValues {
  return values instanceof Float64Array
    ? pickNumbers(values, rows)
    : Array.from(rows, (row) => values[row] as string | null);
}

function pickNumbers(values: Float64Array, rows: Int32Array): Float64Array {
  const picked = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) picked[i] = values[rows[i] as number] as number;
  return picked;
}
