import { createEventRow } from "@millrace/events";
import type { CodedRow, FeatureEngine } from "@millrace/features";
import type { LineDefinition, StreamDefinition } from "@millrace/lines";
import type { Questions } from "./questions.ts";

const utf8 = new TextEncoder();

/** Questions as rows for a feature engine, of the stream predicted on. The engine keeps the texts that it is asked. */
export class QuestionRows {
  readonly #times: Float64Array;
  readonly #row: CodedRow;
  readonly #timeField: number;
  readonly #numbers: readonly (readonly [field: number, values: Float64Array])[];
  readonly #texts: readonly (readonly [field: number, values: readonly (string | null)[]])[];
  readonly #codes = new Map<string, number>();
  #engine: FeatureEngine;

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
    this.#texts = given.filter((one): one is [number, string[]] => !(one[1] instanceof Float64Array));
    this.#engine = engine;
  }

  /** From now on rows are for another engine. */
  use(engine: FeatureEngine): void {
    this.#engine = engine;
    this.#codes.clear();
  }

  /** The row of question `i`; it is used again for the next one. */
  read(i: number): CodedRow {
    const row = this.#row;
    row.time = this.#times[i] as number;
    for (const [field, values] of this.#numbers) row.numbers[field] = values[i] as number;
    row.numbers[this.#timeField] = row.time;
    for (const [field, values] of this.#texts) row.codes[field] = this.#codeOf(values[i] as string | null);
    return row;
  }

  #codeOf(text: string | null): number {
    if (text === null) return 0;
    const known = this.#codes.get(text);
    if (known !== undefined) return known;
    const bytes = utf8.encode(text);
    const code = this.#engine.intern(bytes, 0, bytes.length);
    this.#codes.set(text, code);
    return code;
  }
}
