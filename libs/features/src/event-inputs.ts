import type { EventRow } from "@millrace/events";
import type { ExpressionRow, FieldDefinition } from "@millrace/lines";
import { categoryCoder } from "./category-code.ts";
import { ALWAYS, CONDITIONS, INPUTS, ONE, TIME } from "./event-values.ts";
import type { StreamPlan, Taken } from "./feature-plan.ts";
import type { TextTable } from "./memory/text-table.ts";
import { registerOf } from "./sketches/hyper-log-log.ts";

/**
 * An event's row whose texts are given as codes (see `FeatureEngine.intern`): `codes[i]` is that of field i, 0 where
 * it is null. Its bytes are not looked at.
 */
export interface CodedRow extends EventRow {
  readonly codes: Int32Array;
}

/** The value is null. */
export const NO_VALUE = -1;
/** The value is none that is known. */
const UNKNOWN = 0;

const NO_FEATURES = new Float64Array(0);

type Coder = (bytes: Uint8Array, start: number, end: number) => number;

/** What the features take from one event of a stream. One object is used for all events of the stream. */
export class EventInputs {
  readonly #plan: StreamPlan;
  readonly #texts: TextTable;
  readonly #isText: readonly boolean[];
  readonly #coders: readonly Coder[];
  /** Bytes of texts are looked at, for codes, conditions or expressions. */
  readonly #readsBytes: boolean;
  readonly #number = new Float64Array(1);
  readonly #numberBytes: Uint8Array = new Uint8Array(this.#number.buffer);
  #row: EventRow | CodedRow | null = null;
  /** The texts of a coded row, spelt out. */
  readonly #spelt: {
    numbers: Float64Array;
    bytes: Uint8Array;
    readonly starts: Int32Array;
    readonly ends: Int32Array;
  };

  /** The row as expressions read it. */
  view: ExpressionRow;
  /** Float64Array [INPUTS + inputs of the plan], NaN where null; see `event-values.ts`. */
  readonly values: Float64Array;
  /** Uint8Array [CONDITIONS + conditions of the plan]: 1 where it holds. */
  readonly holds: Uint8Array;
  /** Int32Array [fields]: of those that are looked up, the code, `NO_VALUE`, or 0 where it is not known. */
  readonly codes: Int32Array;

  /** `hasExpressions`: the vector has values that are computed from the row. */
  constructor(plan: StreamPlan, texts: TextTable, hasExpressions: boolean) {
    const width = plan.fields.length;
    this.#plan = plan;
    this.#texts = texts;
    this.#isText = plan.fields.map(([, { type }]) => type === "text" || type === "category");
    this.#coders = plan.inputs.map(({ field }) =>
      categoryCoder((plan.fields[field] as readonly [string, FieldDefinition])[1]),
    );
    this.#readsBytes =
      hasExpressions || plan.conditions.length > 0 || plan.inputs.some(({ kind }) => kind !== "number");
    this.#spelt = {
      numbers: new Float64Array(0),
      bytes: new Uint8Array(256),
      starts: new Int32Array(width),
      ends: new Int32Array(width),
    };
    this.view = this.#spelt;
    this.values = new Float64Array(INPUTS + plan.inputs.length);
    this.values[ONE] = 1;
    this.holds = new Uint8Array(CONDITIONS + plan.conditions.length);
    this.holds[ALWAYS] = 1;
    this.codes = new Int32Array(width);
  }

  /** Looks at an event; it must not change as long as it is asked about. */
  take(row: EventRow | CodedRow): void {
    const codes = (row as Partial<CodedRow>).codes;
    this.#row = row;
    this.view = codes !== undefined && this.#readsBytes ? this.#spellOut(row, codes) : row;
    const { looked, inputs, conditions } = this.#plan;
    this.values[TIME] = row.time;
    for (let i = 0; i < looked.length; i++) {
      const field = looked[i] as number;
      this.codes[field] = this.#isText[field]
        ? this.#codeOf(row, codes, field)
        : this.#codeOfNumber(row, field);
    }
    for (let i = 0; i < inputs.length; i++) {
      const { kind, field } = inputs[i] as (typeof inputs)[number];
      this.values[INPUTS + i] =
        kind === "number" ? (row.numbers[field] as number) : this.#derive(kind, field, i);
    }
    for (let i = 0; i < conditions.length; i++) {
      this.holds[CONDITIONS + i] =
        (conditions[i] as (typeof conditions)[number])(this.view, NO_FEATURES) === 1 ? 1 : 0;
    }
  }

  /** Whether the event has a value to be taken. */
  has({ input, condition }: Taken): boolean {
    return this.holds[condition] === 1 && this.values[input] === this.values[input];
  }

  /** Whether the event meets one of these conditions; null: there are none to meet. */
  meets(conditions: readonly number[] | null): boolean {
    if (conditions === null) return true;
    for (let i = 0; i < conditions.length; i++) if (this.holds[conditions[i] as number] === 1) return true;
    return false;
  }

  /** The code of a field's value, which is made known where it was not, with one reference more. */
  reference(field: number): number {
    const known = this.codes[field] as number;
    if (known > 0) {
      this.#texts.retain(known);
      return known;
    }
    const row = this.#row as EventRow;
    const code = this.#isText[field]
      ? this.#texts.intern(row.bytes, row.starts[field] as number, row.ends[field] as number)
      : this.#texts.internNumber(row.numbers[field] as number);
    this.codes[field] = code;
    return code;
  }

  #codeOf(row: EventRow, codes: Int32Array | undefined, field: number): number {
    if (codes !== undefined) return (codes[field] as number) || NO_VALUE;
    const start = row.starts[field] as number;
    return start < 0 ? NO_VALUE : this.#texts.find(row.bytes, start, row.ends[field] as number) || UNKNOWN;
  }

  #codeOfNumber(row: EventRow, field: number): number {
    const value = row.numbers[field] as number;
    return value !== value ? NO_VALUE : this.#texts.findNumber(value) || UNKNOWN;
  }

  /** A category's code, or the register of a value of any type; NaN of null. */
  #derive(kind: "category" | "register", field: number, input: number): number {
    if (!this.#isText[field]) {
      const value = this.view.numbers[field] as number;
      this.#number[0] = value + 0;
      return value !== value ? Number.NaN : registerOf(this.#numberBytes, 0, this.#numberBytes.length);
    }
    const { bytes, starts, ends } = this.view;
    const start = starts[field] as number;
    if (start < 0) return Number.NaN;
    const end = ends[field] as number;
    return kind === "category"
      ? (this.#coders[input] as Coder)(bytes, start, end)
      : registerOf(bytes, start, end);
  }

  /** The texts of a coded row as bytes. */
  #spellOut(row: EventRow, codes: Int32Array): ExpressionRow {
    const spelt = this.#spelt;
    spelt.numbers = row.numbers;
    let length = 0;
    for (let field = 0; field < codes.length; field++) {
      const code = codes[field] as number;
      spelt.starts[field] = -1;
      if (code === 0 || !this.#isText[field]) continue;
      const start = this.#texts.startOf(code);
      const end = this.#texts.endOf(code);
      if (length + end - start > spelt.bytes.length) {
        const grown = new Uint8Array(2 * (length + end - start));
        grown.set(spelt.bytes);
        spelt.bytes = grown;
      }
      spelt.starts[field] = length;
      const from = this.#texts.bytesOf(code);
      for (let i = start; i < end; i++) spelt.bytes[length++] = from[i] as number;
      spelt.ends[field] = length;
    }
    return spelt;
  }
}
