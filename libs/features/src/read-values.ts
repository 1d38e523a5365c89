import { hourOf, weekdayOf } from "@millrace/lines";
import { writeDeviation } from "./algebra/exact.ts";
import type { EventInputs } from "./event-inputs.ts";
import { TIME } from "./event-values.ts";
import type { Reader } from "./feature-plan.ts";
import type { WindowTable } from "./window-table.ts";

/** Doubles beyond it have no further decimal places. */
const PLACES_MAX: number = Number.MAX_SAFE_INTEGER;

/**
 * Writes the values of a vector to `out`, in model order, NaN where one is not known: finishes what the windows of the
 * tables add up to, as they were read last. `isKnown` is 1 where a table can answer.
 */
export function readValues(
  readers: readonly Reader[],
  tables: readonly WindowTable[],
  isKnown: Uint8Array,
  event: EventInputs,
  out: Float64Array,
): void {
  for (let i = 0; i < readers.length; i++) {
    const reader = readers[i] as Reader;
    if (reader.table < 0) readEvent(reader, event, out, i);
    else if (isKnown[reader.table] !== 1) out[i] = Number.NaN;
    else readTable(reader, tables[reader.table] as WindowTable, event, out, i);
    const value = out[i] as number;
    const scaled = value * reader.scale;
    if (value - value !== 0) out[i] = Number.NaN;
    else if (scaled === 0 || scaled > PLACES_MAX || scaled < -PLACES_MAX) out[i] = value + 0;
    else out[i] = Math.round(scaled) / reader.scale + 0; // -0 is 0
  }
}

/** Writes to `out` in each case, as doubles that are answered, or chosen from, are made objects first. */
function readTable(
  reader: Reader,
  table: WindowTable,
  event: EventInputs,
  out: Float64Array,
  i: number,
): void {
  const { totals, totalInts, totalsAt, answers } = table;
  const { kind, a, b, c, unit } = reader;
  switch (kind) {
    case "count":
      out[i] = totalInts[totalsAt * 2 + a] as number;
      return;
    case "total":
      out[i] = (totals[totalsAt + a] as number) / unit;
      return;
    case "mean":
      out[i] = (totals[totalsAt + a] as number) / ((totalInts[totalsAt * 2 + b] as number) * unit);
      return;
    case "share":
      out[i] = (totalInts[totalsAt * 2 + a] as number) / (totalInts[totalsAt * 2 + b] as number);
      return;
    case "exact-deviation":
      writeDeviation(totalInts[totalsAt * 2 + a] as number, totals, totalsAt + b, totalsAt + c, unit, out, i);
      return;
    case "answer":
      out[i] = (answers[a] as number) / unit;
      return;
    case "answer-mean":
      out[i] = (answers[a] as number) / ((totalInts[totalsAt * 2 + b] as number) * unit);
      return;
    case "deviation":
      out[i] = Math.sqrt((answers[a + 2] as number) / (answers[a] as number));
      return;
    case "since":
      out[i] = Math.max(0, (event.values[TIME] as number) - (answers[a] as number)) / 1_000;
      return;
    case "value":
    case "hour":
    case "weekday":
    case "expression":
      throw new TypeError(`${kind} is not of a table`);
  }
}

function readEvent(
  { kind, a, unit, compute }: Reader,
  event: EventInputs,
  out: Float64Array,
  i: number,
): void {
  switch (kind) {
    case "value":
      out[i] = (event.values[a] as number) / unit;
      return;
    case "hour":
      out[i] = hourOf(event.values[a] as number);
      return;
    case "weekday":
      out[i] = weekdayOf(event.values[a] as number);
      return;
    default:
      out[i] = compute === null ? Number.NaN : compute(event.view, out);
  }
}
