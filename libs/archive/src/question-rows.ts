import { createEventRow } from "@millrace/events";
import type { CodedRow, FeatureEngine } from "@millrace/features";
import type { LineDefinition, StreamDefinition } from "@millrace/lines";
import type { FieldValues, Questions } from "./questions.ts";

const utf8 = new TextEncoder();

/** Questions as rows for a feature engine, of the stream predicted on. The engine keeps their texts. */
export class QuestionRows {
  readonly #times: Float64Array;
  readonly #row: CodedRow;
  readonly #timeField: number;
  readonly #numbers: readonly (readonly [field: number, values: Float64Array])[];
  readonly #codes: readonly (readonly [field: number, codes: Int32Array])[];

  constructor(
    { streams, predict }: Pick<LineDefinition, "streams" | "predict">,
    { times, fields }: Questions,
    engine: FeatureEngine,
  ) {
    const stream = streams[predict.on] as StreamDefinition;
    const names = Object.keys(stream.fields);
    this.#times = times;
    this.#row = { ...createEventRow(predict.on, stream), codes: new Int32Array(names.length) };
    this.#timeField = names.indexOf(stream.time);
    const given = Object.entries(fields).map(([name, values]) => [names.indexOf(name), values] as const);
    this.#numbers = given.filter((one): one is [number, Float64Array] => one[1] instanceof Float64Array);
    this.#codes = given.flatMap(([field, values]) =>
      values instanceof Float64Array ? [] : [[field, codesOf(values, engine)] as const],
    );
  }

  /** The row of question `i`; it is used again for the next one. */
  read(i: number): CodedRow {
    const row = this.#row;
    row.time = this.#times[i] as number;
    row.numbers[this.#timeField] = row.time;
    for (const [field, values] of this.#numbers) row.numbers[field] = values[i] as number;
    for (const [field, codes] of this.#codes) row.codes[field] = codes[i] as number;
    return row;
  }
}

function codesOf(texts: Exclude<FieldValues, Float64Array>, engine: FeatureEngine): Int32Array {
  const known = new Map<string, number>();
  return Int32Array.from(texts, (text) => {
    if (text === null) return 0;
    let code = known.get(text);
    if (code === undefined) {
      const bytes = utf8.encode(text);
      code = engine.intern(bytes, 0, bytes.length);
      known.set(text, code);
    }
    return code;
  });
}
