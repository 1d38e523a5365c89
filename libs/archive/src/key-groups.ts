import type { CommonKey } from "./common-key.ts";
import type { PartitionQuestions } from "./questions.ts";
import type { CodedBatch, CodedScanOptions } from "./scan-module.ts";

/** Events of a group: with many more, an engine leaves the caches; with fewer, engines are made all the time. */
const EVENTS_A_GROUP = 50_000;
const GROUPS_MAX = 4_096;

/** The event counts in no question that is still to come. */
export const NOT_AWAITED = -1;

/**
 * The values of a line's common key, in groups: to which one each event and each question belongs, and when the last
 * question about a value is due. Without a common key there is one group, and each event is awaited.
 */
export class KeyGroups {
  readonly count: number;
  readonly #key: CommonKey | null;
  readonly #questions: PartitionQuestions;
  readonly #groups: Int32Array;
  #dictionary: readonly string[] | null = null;
  /** Time of the last question about a value: by the code of a text, or by the number. */
  #lastByCode: Float64Array = new Float64Array(0);
  readonly #lastByNumber = new Map<number, number>();

  /** `rows`: about how many events there are. */
  constructor(key: CommonKey | null, questions: PartitionQuestions, rows: number) {
    const isGiven = key !== null && questions.fields[key.field] !== undefined;
    this.#key = isGiven ? key : null;
    this.count = isGiven ? Math.min(GROUPS_MAX, Math.max(1, Math.ceil(rows / EVENTS_A_GROUP))) : 1;
    this.#questions = questions;
    this.#groups = new Int32Array(questions.times.length);
    if (this.#key?.isText === false) this.#placeNumbers(this.#key);
  }

  /** How the events are to be scanned. */
  get scan(): Pick<CodedScanOptions, "groups"> {
    return this.#key === null ? {} : { groups: { by: this.#key.columns, count: this.count } };
  }

  /** The group of a question. */
  ofQuestion(question: number): number {
    return this.#groups[question] as number;
  }

  /** Takes up the dictionary of the scan. Answers whether questions have other groups now. */
  open({ dictionaries }: CodedBatch): boolean {
    const dictionary = dictionaries[this.#key?.columns[0] ?? ""] ?? [];
    if (this.#key?.isText !== true || dictionary === this.#dictionary) return false;
    this.#dictionary = dictionary;
    this.#placeTexts(this.#key, dictionary);
    return true;
  }

  /** Int32Array [events of the batch]: the group of each event, or `NOT_AWAITED`. */
  ofEvents({ rows, columns }: CodedBatch): Int32Array {
    const groups = new Int32Array(rows);
    const key = this.#key;
    if (key === null) return groups;
    const times = columns["time"] as Float64Array;
    const keys = key.columns.map((name) => columns[name] as Float64Array | Int32Array);
    for (let i = 0; i < rows; i++) {
      let value = Number.NaN;
      // An event is of one stream: the columns of others have nothing.
      for (let c = 0; c < keys.length && value !== value; c++) {
        const found = keys[c]?.[i] as number;
        if (!key.isText || found !== 0) value = found;
      }
      const last = key.isText ? this.#lastByCode[value] : this.#lastByNumber.get(value);
      groups[i] = last !== undefined && last >= (times[i] as number) ? this.#groupOf(value) : NOT_AWAITED;
    }
    return groups;
  }

  #groupOf(value: number): number {
    return ((value % this.count) + this.count) % this.count;
  }

  #placeNumbers({ field }: CommonKey): void {
    const { fields, times } = this.#questions;
    const values = fields[field] as Float64Array;
    values.forEach((value, question) => {
      if (value !== value) return;
      this.#groups[question] = this.#groupOf(value);
      const last = this.#lastByNumber.get(value) ?? Number.NEGATIVE_INFINITY;
      this.#lastByNumber.set(value, Math.max(last, times[question] as number));
    });
  }

  #placeTexts({ field }: CommonKey, dictionary: readonly string[]): void {
    const { fields, times } = this.#questions;
    const values = fields[field] as readonly (string | null)[];
    const codes = new Map<string | null, number>(values.map((value) => [value, 0]));
    dictionary.forEach((text, i) => {
      if (codes.has(text)) codes.set(text, i + 1);
    });
    this.#lastByCode = new Float64Array(dictionary.length + 1).fill(Number.NEGATIVE_INFINITY);
    values.forEach((value, question) => {
      const code = codes.get(value) as number;
      if (code === 0) return; // no event has it
      this.#groups[question] = this.#groupOf(code);
      this.#lastByCode[code] = Math.max(this.#lastByCode[code] as number, times[question] as number);
    });
  }
}
