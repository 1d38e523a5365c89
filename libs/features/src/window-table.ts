import type { FieldValue } from "@millrace/contracts";
import { PaneSeries, type WindowTotals } from "./pane-series.ts";

/** The shortest window of a line is cut into so many panes; a window's start is exact to one pane. */
export const PANES_PER_SHORTEST_WINDOW = 12;

type Data = Readonly<Record<string, FieldValue>>;

export interface WindowTableSnapshot {
  readonly keys: readonly string[];
  /** Slots of all series, one after the other, and how many each has. */
  readonly slots: Float64Array;
  readonly lengths: Int32Array;
  /** Pane at which old panes were last forgotten: late events see the same after a restart. */
  readonly expiredAtPane: number;
}

/** The panes of all keys of one grouping (`by`) of one stream. */
export class WindowTable {
  readonly #by: readonly string[];
  readonly #sums: readonly string[];
  readonly #windowPanes: readonly number[];
  readonly #paneMs: number;
  readonly #series = new Map<string, PaneSeries>();
  readonly #totals: readonly WindowTotals[];
  readonly #firsts: number[];
  #expiredAtPane: number;

  /** `windowsMs` shortest first; `sums` the fields that are summed. */
  constructor(
    by: readonly string[],
    sums: readonly string[],
    windowsMs: readonly number[],
    paneMs: number,
    snapshot: WindowTableSnapshot | null,
  ) {
    this.#by = by;
    this.#sums = sums;
    this.#paneMs = paneMs;
    this.#windowPanes = windowsMs.map((ms) => Math.ceil(ms / paneMs));
    this.#firsts = windowsMs.map(() => 0);
    this.#totals = windowsMs.map(() => ({ count: 0, positives: 0, sums: new Float64Array(sums.length) }));
    this.#expiredAtPane = snapshot?.expiredAtPane ?? Number.NEGATIVE_INFINITY;
    let at = 0;
    snapshot?.keys.forEach((key, i) => {
      const length = snapshot.lengths[i] as number;
      this.#series.set(key, new PaneSeries(sums.length, snapshot.slots.slice(at, at + length)));
      at += length;
    });
  }

  add(data: Data, time: number, positive: boolean): void {
    const key = this.#key(data);
    let series = this.#series.get(key);
    if (series === undefined) {
      series = new PaneSeries(this.#sums.length);
      this.#series.set(key, series);
    }
    series.add(
      this.#pane(time),
      time,
      positive,
      this.#sums.map((field) => Number(data[field] ?? 0)),
    );
  }

  /**
   * Totals per window for the key of `data`, as of `time`; valid until the next call. `later` are events not yet
   * in the table that count as well.
   */
  totals(
    data: Data,
    time: number,
    later: readonly { data: Data; time: number; positive: boolean }[],
  ): readonly WindowTotals[] {
    const key = this.#key(data);
    const last = this.#pane(time);
    for (let w = 0; w < this.#firsts.length; w++)
      this.#firsts[w] = last - (this.#windowPanes[w] as number) + 1;
    (this.#series.get(key) ?? new PaneSeries(this.#sums.length)).totals(
      this.#firsts,
      last,
      time,
      this.#totals,
    );
    for (const event of later) {
      if (event.time > time || this.#key(event.data) !== key) continue;
      const pane = this.#pane(event.time);
      this.#totals.forEach((total, w) => {
        if (pane < (this.#firsts[w] as number)) return;
        total.count++;
        if (event.positive) total.positives++;
        this.#sums.forEach((field, s) => {
          (total.sums[s] as number) += Number(event.data[field] ?? 0);
        });
      });
    }
    return this.#totals;
  }

  /** Forgets what no window can reach any more at `time`; cheap to call often. */
  expire(time: number): void {
    const pane = this.#pane(time);
    const longest = this.#windowPanes.at(-1) as number;
    if (pane - this.#expiredAtPane < longest / 8) return;
    this.#expiredAtPane = pane;
    for (const [key, series] of this.#series) {
      series.expire(pane - longest);
      if (series.empty) this.#series.delete(key);
    }
  }

  snapshot(): WindowTableSnapshot {
    const parts = [...this.#series.values()].map((series) => series.snapshot());
    const slots = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      slots.set(part, at);
      at += part.length;
    }
    return {
      keys: [...this.#series.keys()],
      slots,
      lengths: Int32Array.from(parts, (part) => part.length),
      expiredAtPane: this.#expiredAtPane,
    };
  }

  #key(data: Data): string {
    if (this.#by.length === 1) return String(data[this.#by[0] as string]);
    let key = "";
    for (const field of this.#by) key += `${data[field]}\u0000`;
    return key;
  }

  #pane(time: number): number {
    return Math.floor(time / this.#paneMs);
  }
}
