import type { AcceptedEvent, FieldValue } from "@millrace/contracts";
import { checkedDurationMs, type FeatureDefinition, type LineDefinition } from "@millrace/lines";
import type { WindowTotals } from "./pane-series.ts";
import { PANES_PER_SHORTEST_WINDOW, WindowTable, type WindowTableSnapshot } from "./window-table.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** Events waiting for an event to be predicted on. Beyond it the oldest are taken in at once (F1 still holds). */
const WAITING_MAX = 100_000;
/** Values are kept to so many decimal places, so that their text is short and what is served is what is stored. */
const DECIMALS = 1e6;

type Data = Readonly<Record<string, FieldValue>>;
type WindowFeature = Extract<FeatureDefinition, { kind: "window" }>;

interface Waiting {
  readonly stream: string;
  readonly time: number;
  readonly data: Data;
  readonly positive: boolean;
}

export interface FeatureSnapshot {
  readonly tables: readonly WindowTableSnapshot[];
  readonly waiting: readonly Waiting[];
  readonly newestTime: number;
}

interface Table {
  readonly stream: string;
  readonly windows: WindowTable;
}

/** How to read one feature: straight from the event, or from window `window` of table `table`. */
type Reader =
  | { readonly kind: "event"; readonly read: (data: Data) => number | null }
  | {
      readonly kind: "window";
      readonly table: number;
      readonly window: number;
      readonly read: (totals: WindowTotals) => number | null;
    };

/** A line's features over the accepted events of one partition. */
export class FeatureEngine {
  readonly #line: LineDefinition;
  readonly #tables: readonly Table[];
  readonly #readers: readonly Reader[];
  /** Events of window streams later than the newest event predicted on, in event-time order. */
  #waiting: Waiting[];
  #newestTime: number;

  constructor(line: LineDefinition, snapshot: FeatureSnapshot | null) {
    this.#line = line;
    const plans = planTables(line);
    const paneMs = shortestWindowMs(line) / PANES_PER_SHORTEST_WINDOW;
    this.#tables = plans.map((plan, i) => ({
      stream: plan.stream,
      windows: new WindowTable(plan.by, plan.sums, plan.windowsMs, paneMs, snapshot?.tables[i] ?? null),
    }));
    this.#readers = line.features.map((feature) => readerOf(feature, plans));
    this.#waiting = [...(snapshot?.waiting ?? [])];
    this.#newestTime = snapshot?.newestTime ?? 0;
  }

  /** Newest event time taken in, ms. */
  get newestTime(): number {
    return this.#newestTime;
  }

  /** Takes in an event that windows aggregate over. It counts for vectors at its event time and later. */
  observe(event: AcceptedEvent): void {
    if (!this.#tables.some((table) => table.stream === event.stream)) return;
    const { stream, time, data } = event;
    const waiting = this.#waiting;
    let at = waiting.length;
    while (at > 0 && (waiting[at - 1] as Waiting).time > time) at--;
    waiting.splice(at, 0, { stream, time, data, positive: isPositive(this.#line, event) });
    if (waiting.length > WAITING_MAX) this.#takeIn(waiting.splice(0, waiting.length - WAITING_MAX));
  }

  /** The vector of an event of the stream predicted on, in model order; null where a value is not known. */
  vector(event: AcceptedEvent): (number | null)[] {
    const { time } = event;
    const waiting = this.#waiting;
    let ripe = 0;
    while (ripe < waiting.length && (waiting[ripe] as Waiting).time <= time) ripe++;
    if (ripe > 0) this.#takeIn(waiting.splice(0, ripe));
    this.#newestTime = Math.max(this.#newestTime, time);
    for (const { windows } of this.#tables) windows.expire(this.#newestTime);
    return this.#read(event.data, time, []);
  }

  /** The same vector for an online request: nothing is taken in, so that requests leave no trace in the stream. */
  peek(data: Data, time: number): (number | null)[] {
    return this.#read(data, time, this.#waiting);
  }

  snapshot(): FeatureSnapshot {
    return {
      tables: this.#tables.map((table) => table.windows.snapshot()),
      waiting: this.#waiting,
      newestTime: this.#newestTime,
    };
  }

  #takeIn(events: readonly Waiting[]): void {
    for (const { stream, time, data, positive } of events) {
      for (const table of this.#tables) {
        if (table.stream === stream) table.windows.add(data, time, positive);
      }
    }
  }

  #read(data: Data, time: number, later: readonly Waiting[]): (number | null)[] {
    const totals = this.#tables.map((table) =>
      // Totals are valid until the table's next call, and each table is asked once.
      table.windows.totals(
        data,
        time,
        later.length === 0 ? later : later.filter((one) => one.stream === table.stream),
      ),
    );
    return this.#readers.map((reader) => {
      const value =
        reader.kind === "event"
          ? reader.read(data)
          : reader.read((totals[reader.table] as readonly WindowTotals[])[reader.window] as WindowTotals);
      return value === null ? null : Math.round(value * DECIMALS) / DECIMALS;
    });
  }
}

/** Whether an event of the label's stream says "yes". False for events of other streams. */
export function isPositive(line: LineDefinition, event: Pick<AcceptedEvent, "stream" | "data">): boolean {
  const { from, positive } = line.label;
  return event.stream === from && Number(event.data[positive.field]) > positive.above;
}

interface TablePlan {
  readonly stream: string;
  readonly by: readonly string[];
  readonly sums: readonly string[];
  readonly windowsMs: readonly number[];
}

/** One table per stream and grouping, with all windows and sums that its features need. */
function planTables(line: LineDefinition): TablePlan[] {
  const groups = Map.groupBy(
    line.features.filter((feature) => feature.kind === "window"),
    (feature) => tableName(feature),
  );
  return [...groups.values()].map((features) => ({
    stream: (features[0] as WindowFeature).from,
    by: (features[0] as WindowFeature).by,
    sums: [...new Set(features.flatMap((feature) => feature.of ?? []))],
    windowsMs: [...new Set(features.map((feature) => checkedDurationMs(feature.window)))].sort(
      (a, b) => a - b,
    ),
  }));
}

function tableName(feature: WindowFeature): string {
  return JSON.stringify([feature.from, feature.by]);
}

function shortestWindowMs(line: LineDefinition): number {
  const windows = line.features.flatMap((feature) =>
    feature.kind === "window" ? checkedDurationMs(feature.window) : [],
  );
  return windows.length === 0 ? HOUR_MS : Math.min(...windows);
}

function readerOf(feature: FeatureDefinition, plans: readonly TablePlan[]): Reader {
  switch (feature.kind) {
    case "field":
      return { kind: "event", read: (data) => toNumber(data[feature.field]) };
    case "hour":
      return {
        kind: "event",
        read: (data) => withTime(data[feature.of], (ms) => Math.floor(ms / HOUR_MS) % 24),
      };
    case "weekday":
      // 1 January 1970 was a Thursday (4).
      return {
        kind: "event",
        read: (data) => withTime(data[feature.of], (ms) => (Math.floor(ms / DAY_MS) + 4) % 7),
      };
    case "window": {
      const table = plans.findIndex(
        (plan) => tableName({ ...feature, from: plan.stream, by: plan.by }) === tableName(feature),
      );
      const plan = plans[table] as TablePlan;
      const window = plan.windowsMs.indexOf(checkedDurationMs(feature.window));
      const sum = feature.of === undefined ? -1 : plan.sums.indexOf(feature.of);
      return { kind: "window", table, window, read: aggregateOf(feature.aggregate, sum) };
    }
  }
}

function aggregateOf(
  aggregate: WindowFeature["aggregate"],
  sum: number,
): (totals: WindowTotals) => number | null {
  switch (aggregate) {
    case "count":
      return (totals) => totals.count;
    case "share":
      return (totals) => (totals.count === 0 ? null : totals.positives / totals.count);
    case "sum":
      return (totals) => totals.sums[sum] as number;
    case "mean":
      return (totals) => (totals.count === 0 ? null : (totals.sums[sum] as number) / totals.count);
  }
}

function toNumber(value: FieldValue | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}

function withTime(value: FieldValue | undefined, of: (ms: number) => number): number | null {
  return typeof value === "number" ? of(value) : null;
}
