import { hourOf, weekdayOf } from "./calendar.ts";

/** time: a moment. It can be compared, asked for its hour and weekday, and subtracted, which gives seconds. */
export type ExpressionType = "number" | "text" | "boolean" | "time";

/** A function of the language over numbers, NaN being null. `isnull` and `coalesce`, which look at null, are apart. */
export interface ExpressionFunction {
  readonly takes: ExpressionType;
  readonly least: number;
  readonly most: number;
  /** How it is written, for messages. */
  readonly usage: string;
  readonly one?: (value: number) => number;
  readonly two?: (left: number, right: number) => number;
}

const ofOne = (usage: string, one: (value: number) => number, takes: ExpressionType = "number") =>
  ({ takes, least: 1, most: 1, usage, one }) as const;

/** `two` of three and more is taken from the left. */
export const FUNCTIONS: Readonly<Record<string, ExpressionFunction>> = {
  abs: ofOne("abs(x)", Math.abs),
  floor: ofOne("floor(x)", Math.floor),
  ceil: ofOne("ceil(x)", Math.ceil),
  round: ofOne("round(x)", Math.round),
  sqrt: ofOne("sqrt(x)", Math.sqrt),
  log: ofOne("log(x)", Math.log),
  exp: ofOne("exp(x)", Math.exp),
  hour: ofOne("hour(time)", hourOf, "time"),
  weekday: ofOne("weekday(time)", weekdayOf, "time"),
  // NaN ** 0 is 1 in JavaScript, and null must stay null.
  pow: {
    takes: "number",
    least: 2,
    most: 2,
    usage: "pow(x, y)",
    two: (x, y) => (x !== x || y !== y ? Number.NaN : x ** y),
  },
  min: { takes: "number", least: 2, most: 20, usage: "min(x, y, ...)", two: Math.min },
  max: { takes: "number", least: 2, most: 20, usage: "max(x, y, ...)", two: Math.max },
};
