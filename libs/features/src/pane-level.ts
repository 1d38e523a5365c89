import type { PaneRange } from "./algebra/pane-algebra.ts";
import { emptySummary, enterSummary, isLost, leaveSummary, updateSummary } from "./algebra/summary.ts";
import { DistinctPairs, type DistinctPairsSnapshot, NO_PANE } from "./distinct-pairs.ts";
import { type EventInputs, NO_VALUE } from "./event-inputs.ts";
import { TIME } from "./event-values.ts";
import type { AccumulatorPlan, DistinctPlan, LevelPlan, SummaryPlan } from "./feature-plan.ts";
import type { SlabSnapshot } from "./memory/slab.ts";
import type { TextTable } from "./memory/text-table.ts";
import { clampPane, isPane, originOf, paneOf } from "./pane-number.ts";
import { PaneRates } from "./pane-rates.ts";
import { PaneSketches } from "./pane-sketches.ts";
import { PaneStore, STORE_INTS } from "./pane-store.ts";

/**
 * What a key's record has per level, in integers: those of the store, the newest pane that an event came to, and how
 * many of the newest panes are in each window that ends with it.
 */
const END: number = STORE_INTS;
const COUNTS: number = STORE_INTS + 1;

/** Of a window of a record: its oldest pane, in the place where a pane has its own number. */
const NO_OLDEST = 2 ** 31 - 1;

export interface PaneLevelSnapshot {
  readonly panes: SlabSnapshot;
  readonly distincts: readonly DistinctPairsSnapshot[];
  readonly sketches: readonly SlabSnapshot[];
}

/**
 * What is counted in panes of one length, for all keys of a table. A key's record, which belongs to the table, is
 * given as `floats` and `ints` (two views of the same memory) and `at`, where it begins in units.
 *
 * A record has the totals of each window that ends with the key's newest pane, laid out like a pane, so that neither
 * an event nor a vector costs more for more panes: as time moves on, the panes that leave a window are taken out of
 * its totals. What cannot be taken out is combined from the panes for each vector (`PaneAlgebra`, sketches).
 */
export class PaneLevel {
  readonly plan: LevelPlan;
  readonly #store: PaneStore;
  readonly #rates: PaneRates | null;
  readonly #sketches: PaneSketches | null;
  /** The sets of pairs of a key and a value, to be swept one after the other. */
  readonly pairs: readonly DistinctPairs[];
  readonly #windows: Int32Array;
  readonly #longest: number;
  readonly #stride: number;
  readonly #paneMs: number;
  readonly #origin: number;
  readonly #hasSelfless: boolean;
  /** The pane of the event that is looked at, and whether it has a number at all. */
  #pane = 0;
  #isPane = false;
  /** Where its parts of a record begin. */
  readonly #intsAt: number;
  readonly #windowsAt: number;
  /** Parts of the located panes: those of a window, and those by which it differs from the record's. */
  readonly #window: PaneRange;
  readonly #leaving: PaneRange;
  readonly #entering: PaneRange;
  /** No vector is asked for before pane `#reach`; no event comes before pane `#settled`. */
  #reach = NO_PANE;
  #settled = NO_PANE;
  /** This pane and those before it are in no window any more. */
  #dead = NO_PANE;

  constructor(plan: LevelPlan, snapshot: PaneLevelSnapshot | null) {
    const { stride, windows, intsAt } = plan;
    this.plan = plan;
    this.#store = new PaneStore(stride, intsAt, snapshot?.panes ?? null);
    this.#rates = plan.decays.length === 0 ? null : new PaneRates(plan);
    this.#sketches = plan.sketches.length === 0 ? null : new PaneSketches(plan, snapshot?.sketches ?? null);
    this.pairs = plan.distincts.map((_, i) => new DistinctPairs(snapshot?.distincts[i] ?? null));
    this.#windows = Int32Array.from(windows);
    this.#longest = Math.max(1, ...windows);
    this.#stride = stride;
    this.#paneMs = plan.paneMs;
    this.#origin = originOf(plan.paneMs);
    this.#hasSelfless = plan.accumulators.some(({ algebra }) => !algebra.countsItself);
    this.#intsAt = intsAt;
    this.#windowsAt = plan.windowsAt;
    this.#window = { ...this.#store.panes };
    this.#leaving = { ...this.#store.panes };
    this.#entering = { ...this.#store.panes };
  }

  get byteLength(): number {
    const pairs = this.pairs.reduce((sum, one) => sum + one.byteLength, 0);
    return this.#store.byteLength + (this.#sketches?.byteLength ?? 0) + pairs;
  }

  /** How long an event can count, ms; late events aside. */
  get spanMs(): number {
    return Math.max(this.#longest, this.#rates?.panes ?? 0) * this.plan.paneMs;
  }

  /**
   * No vector is asked for before `reachMs`, and no event comes before `settledMs`, from now on. It changes something
   * only when one of them comes into another pane.
   */
  advance(reachMs: number, settledMs: number): void {
    const { paneMs } = this.plan;
    this.#reach = clampPane(paneOf(reachMs, paneMs));
    this.#settled = clampPane(paneOf(settledMs, paneMs));
    this.#dead = this.#reach - this.#longest;
  }

  /** Makes a record's part empty; it is zeros. */
  prepareRecord(floats: Float64Array, ints: Int32Array, at: number): void {
    ints[at * 2 + this.#intsAt + END] = NO_PANE;
    for (let w = 0; w < this.#windows.length; w++) this.#emptyWindow(floats, ints, at, w);
  }

  /** Looks at an event: all that follows is about it. Answers whether its windows have all their panes. */
  lookAt(event: EventInputs): boolean {
    const pane = Math.floor((event.values[TIME] as number) / this.#paneMs) - this.#origin;
    this.#isPane = isPane(pane);
    this.#pane = clampPane(pane);
    return this.#pane >= this.#reach;
  }

  /** Whether the event, of the table's stream, counts here and is not in the past of what the key has. */
  isCurrent(ints: Int32Array, at: number, event: EventInputs): boolean {
    if (!this.#isPane || this.#pane <= this.#dead || !event.meets(this.plan.conditions)) return false;
    return this.#pane >= (ints[at * 2 + this.#intsAt + END] as number);
  }

  /** Takes in the event, of the table's stream. False when it comes too late to count in any window. */
  update(floats: Float64Array, ints: Int32Array, at: number, key: number, event: EventInputs): boolean {
    const { summaries, accumulators } = this.plan;
    const { values } = event;
    const pane = this.#pane;
    if (!this.#isPane) return false;
    if (this.#rates !== null) {
      this.#drop(floats, ints, at);
      this.#rates.forget(floats, at + this.plan.ratesAt, this.#reach);
    }
    if (pane <= this.#dead) {
      this.#rates?.updateDropped(floats, at + this.plan.ratesAt, event, pane);
      return this.#rates !== null;
    }
    const header = at * 2 + this.#intsAt;
    if (pane > (ints[header + END] as number)) {
      this.#moveWindows(floats, ints, at, pane);
      ints[header + END] = pane;
    }
    const place = this.#open(floats, ints, at, pane);
    const { panes } = this.#store;
    const behind = (ints[header + END] as number) - pane;
    for (let i = 0; i < summaries.length; i++) {
      const one = summaries[i] as SummaryPlan;
      if (!event.has(one)) continue;
      for (let w = 0; w < one.windows; w++) {
        if (behind >= (this.#windows[w] as number)) continue;
        const window = at + this.#windowsAt + w * this.#stride;
        if (isLost(one, floats, window)) this.#addUpRecord(one, floats, ints, at, w);
        updateSummary(one, floats, ints, window, values);
      }
      updateSummary(one, panes.floats, panes.ints, place, values);
    }
    for (let i = 0; i < accumulators.length; i++) {
      const one = accumulators[i] as AccumulatorPlan;
      if (event.has(one)) one.algebra.update(panes.floats, place + one.floats, values, one.input);
    }
    this.#rates?.update(floats, at + this.plan.ratesAt, event, pane, panes, place);
    this.#sketches?.update(event, panes, place);
    for (let i = 0; i < this.pairs.length; i++) this.#distinguish(i, floats, ints, at, key, event, pane);
    return true;
  }

  /**
   * Writes what the level's windows that end with the asking event's pane add up to: totals to `totals` and
   * `totalInts` (two views of a record that begins with them), answers to `answers`. `isOwn` where the event is of the
   * table's stream, and counts. Changes nothing else.
   */
  read(
    floats: Float64Array,
    ints: Int32Array,
    at: number,
    key: number,
    event: EventInputs,
    isOwn: boolean,
    totals: Float64Array,
    totalInts: Int32Array,
    answers: Float64Array,
  ): void {
    const own = isOwn ? event : null;
    const pane = this.#pane;
    const end = ints[at * 2 + this.#intsAt + END] as number;
    this.#store.locate(ints, at);
    for (let w = 0; w < this.#windows.length; w++) {
      const isAnew = this.#select(ints, at, w, pane);
      this.#sumUp(floats, ints, at, w, own, isAnew, totals, totalInts);
      this.#combine(w, own, pane, true, answers);
      this.#combine(w, own, pane, false, answers);
    }
    for (let i = 0; i < this.pairs.length; i++) this.#correctDistinct(i, key, own, pane, totalInts);
    if (this.#rates === null && this.#sketches === null) return;
    this.#cut(this.#window, this.#store.panes.oldest, this.#store.search(pane));
    if (pane < end) this.#rates?.readPast(floats, at + this.plan.ratesAt, own, pane, this.#window, answers);
    else this.#rates?.read(floats, at + this.plan.ratesAt, own, pane, answers);
    this.#sketches?.read(own, pane, this.#windows, this.#window, this.#dead, answers);
  }

  /** Of a current event that is not yet taken in: writes the answers in which it does not count itself. */
  readBefore(ints: Int32Array, at: number, answers: Float64Array): void {
    if (!this.#hasSelfless) return;
    this.#store.locate(ints, at);
    for (let w = 0; w < this.#windows.length; w++) {
      this.#select(ints, at, w, this.#pane);
      this.#combine(w, null, this.#pane, false, answers);
    }
  }

  /** Of a current event that has been taken in: the record has its totals; writes the other answers. */
  readAfter(floats: Float64Array, ints: Int32Array, at: number, answers: Float64Array): void {
    const { accumulators, ratesAt } = this.plan;
    if (accumulators.length === 0 && this.#rates === null && this.#sketches === null) return;
    const pane = ints[at * 2 + this.#intsAt + END] as number;
    this.#store.locate(ints, at);
    this.#rates?.read(floats, at + ratesAt, null, pane, answers);
    this.#sketches?.read(null, pane, this.#windows, this.#store.panes, this.#dead, answers);
    for (let w = 0; w < this.#windows.length; w++) {
      this.#select(ints, at, w, pane);
      this.#combine(w, null, pane, true, answers);
    }
  }

  /** Forgets the key's dead panes and gives back room. Answers whether something is left. */
  sweep(floats: Float64Array, ints: Int32Array, at: number): boolean {
    this.#drop(floats, ints, at);
    if (this.#store.trim(ints, at) > 0) return true;
    ints[at * 2 + this.#intsAt + END] = NO_PANE;
    return this.#rates?.areLeft(floats, at + this.plan.ratesAt, this.#reach) ?? false;
  }

  /** Forgets what set number `i` of `pairs` has at a place; see `DistinctPairs.sweep`. */
  sweepPairs(i: number, place: number, texts: TextTable): boolean {
    return (this.pairs[i] as DistinctPairs).sweep(place, this.#dead, this.#settled, texts);
  }

  /** Live arrays: to be copied or written before the level is used again. */
  snapshot(): PaneLevelSnapshot {
    return {
      panes: this.#store.snapshot(),
      distincts: this.pairs.map((pairs) => pairs.snapshot()),
      sketches: this.#sketches?.snapshot() ?? [],
    };
  }

  // ——— windows ———

  #emptyWindow(floats: Float64Array, ints: Int32Array, at: number, w: number): void {
    const window = at + this.#windowsAt + w * this.#stride;
    ints[at * 2 + this.#intsAt + COUNTS + w] = 0;
    ints[window * 2] = NO_OLDEST;
    const { summaries, distincts } = this.plan;
    for (const one of summaries) emptySummary(one, floats, ints, window);
    for (const one of distincts) ints[window * 2 + one.ints] = 0;
  }

  /** Takes what lies before the windows that end with `pane` out of them: the key's newest pane moves on to it. */
  #moveWindows(floats: Float64Array, ints: Int32Array, at: number, pane: number): void {
    let isLocated = false;
    for (let w = 0; w < this.#windows.length; w++) {
      const limit = pane - (this.#windows[w] as number);
      if ((ints[(at + this.#windowsAt + w * this.#stride) * 2] as number) > limit) continue;
      if (!isLocated) this.#store.locate(ints, at);
      isLocated = true;
      const { ints: numbers, newest, stride } = this.#store.panes;
      const count = ints[at * 2 + this.#intsAt + COUNTS + w] as number;
      const oldest = newest - (count - 1) * stride;
      let left = 0;
      while (left < count && (numbers[(oldest + left * stride) * 2] as number) <= limit) left++;
      this.#takeOldest(floats, ints, at, w, left);
    }
  }

  /** Takes the `left` oldest panes out of a window of the located key. */
  #takeOldest(floats: Float64Array, ints: Int32Array, at: number, w: number, left: number): void {
    const counts = at * 2 + this.#intsAt + COUNTS + w;
    const count = (ints[counts] as number) - left;
    if (count === 0) {
      this.#emptyWindow(floats, ints, at, w);
      return;
    }
    const { newest, stride, ints: numbers } = this.#store.panes;
    const window = at + this.#windowsAt + w * this.#stride;
    const oldest = newest - (count - 1) * stride;
    ints[counts] = count;
    ints[window * 2] = numbers[oldest * 2] as number;
    this.#cut(this.#leaving, oldest - left * stride, oldest - stride);
    const { summaries, distincts } = this.plan;
    for (let i = 0; i < summaries.length; i++) {
      const one = summaries[i] as SummaryPlan;
      if (w >= one.windows) continue;
      const wasLost = isLost(one, floats, window);
      if (!wasLost) leaveSummary(one, floats, ints, window, this.#leaving);
      if (wasLost || isLost(one, floats, window)) this.#addUpRecord(one, floats, ints, at, w);
    }
    for (let i = 0; i < distincts.length; i++) {
      const { ints: slot } = distincts[i] as DistinctPlan;
      addInts(ints, window * 2 + slot, this.#leaving, slot, -1);
    }
  }

  /** Adds a window of the record up anew, from the panes of the located key. */
  #addUpRecord(one: SummaryPlan, floats: Float64Array, ints: Int32Array, at: number, w: number): void {
    const { newest, stride } = this.#store.panes;
    const window = at + this.#windowsAt + w * this.#stride;
    const count = ints[at * 2 + this.#intsAt + COUNTS + w] as number;
    this.#cut(this.#window, newest - (count - 1) * stride, newest);
    emptySummary(one, floats, ints, window);
    enterSummary(one, floats, ints, window, this.#window);
  }

  /**
   * Finds the panes of the located key that are in the window w that ends with `pane`, and those by which they differ
   * from the panes of the record's window. True when it is less work to add the window up anew.
   */
  #select(ints: Int32Array, at: number, w: number, pane: number): boolean {
    const { ints: numbers, newest: last, oldest: first, stride } = this.#store.panes;
    const header = at * 2 + this.#intsAt;
    const count = ints[header + COUNTS + w] as number;
    const before = last - (count - 1) * stride;
    const limit = Math.max(pane - (this.#windows[w] as number), this.#dead);
    if (pane >= (ints[header + END] as number)) {
      let oldest = before;
      if ((ints[(at + this.#windowsAt + w * this.#stride) * 2] as number) <= limit) {
        while (oldest <= last && (numbers[oldest * 2] as number) <= limit) oldest += stride;
      }
      this.#cut(this.#window, oldest, last);
      this.#cut(this.#leaving, before, oldest - stride);
      this.#cut(this.#entering, 0, -1);
      return oldest - before > last - oldest + stride;
    }
    const newest = this.#store.search(pane);
    const oldest = Math.max(first, this.#store.search(limit) + stride);
    this.#cut(this.#window, oldest, newest);
    this.#cut(this.#leaving, newest + stride, last);
    this.#cut(this.#entering, oldest, before - stride);
    return newest < before || oldest > before || last - newest + before - oldest > newest - oldest + stride;
  }

  /** Writes the totals of the selected window. */
  #sumUp(
    floats: Float64Array,
    ints: Int32Array,
    at: number,
    w: number,
    own: EventInputs | null,
    isAnew: boolean,
    totals: Float64Array,
    totalInts: Int32Array,
  ): void {
    const { summaries, distincts, floatsAt } = this.plan;
    const to = this.#windowsAt + w * this.#stride;
    const from = at + to;
    // Two integers seen as a double may look like one of the many NaNs, and might not be copied as they are.
    for (let i = 0; i < 2 * floatsAt; i++) totalInts[2 * to + i] = ints[2 * from + i] as number;
    for (let i = floatsAt; i < this.#stride; i++) totals[to + i] = floats[from + i] as number;
    const leaving = this.#leaving;
    const entering = this.#entering;
    const hasLeaving = leaving.newest >= leaving.oldest;
    const hasEntering = entering.newest >= entering.oldest;
    for (let i = 0; i < summaries.length; i++) {
      const one = summaries[i] as SummaryPlan;
      if (w >= one.windows) continue;
      let isKnown = !isAnew && !isLost(one, totals, to);
      if (isKnown && (hasLeaving || hasEntering)) {
        if (hasLeaving) leaveSummary(one, totals, totalInts, to, leaving);
        isKnown = !isLost(one, totals, to);
        if (hasEntering) enterSummary(one, totals, totalInts, to, entering);
      }
      if (!isKnown) {
        emptySummary(one, totals, totalInts, to);
        enterSummary(one, totals, totalInts, to, this.#window);
      }
      if (own?.has(one)) updateSummary(one, totals, totalInts, to, own.values);
    }
    for (let i = 0; i < distincts.length; i++) {
      const { ints: slot } = distincts[i] as DistinctPlan;
      if (isAnew) {
        totalInts[to * 2 + slot] = 0;
        addInts(totalInts, to * 2 + slot, this.#window, slot, 1);
      } else {
        if (hasLeaving) addInts(totalInts, to * 2 + slot, leaving, slot, -1);
        if (hasEntering) addInts(totalInts, to * 2 + slot, entering, slot, 1);
      }
    }
  }

  /**
   * Writes the answers of the selected window, which ends with `pane`, that are combined from panes: those in which the
   * asking event counts itself, or the others.
   */
  #combine(
    w: number,
    own: EventInputs | null,
    pane: number,
    countsItself: boolean,
    answers: Float64Array,
  ): void {
    const { accumulators } = this.plan;
    const window = this.#window;
    for (let i = 0; i < accumulators.length; i++) {
      const one = accumulators[i] as AccumulatorPlan;
      const { algebra, floats: slot } = one;
      if (w >= one.windows || algebra.countsItself !== countsItself) continue;
      const to = one.answer + w * algebra.slots;
      const { newest } = window;
      if (countsItself && own?.has(one)) {
        // The event goes into a copy of its pane, as it will go into the pane: so the answer is the same to the bit.
        const isThere = newest >= window.oldest && window.ints[newest * 2] === pane;
        if (!isThere) algebra.prepare(answers, to);
        else
          for (let k = 0; k < algebra.slots; k++)
            answers[to + k] = window.floats[newest + slot + k] as number;
        algebra.update(answers, to, own.values, one.input);
        if (isThere) window.newest -= window.stride;
      } else algebra.prepare(answers, to);
      algebra.enter(answers, to, window, slot);
      window.newest = newest;
    }
  }

  // ——— different values ———

  /**
   * A pane's slot counts the pairs whose newest pane it is: over the panes of a window that is the answer. For a
   * question in the past, pairs that have come again since are missing. Further slots, one for each window, have where
   * such a pair begins (+1) and ends (-1) to be missing; as all of them add up to 0, those of the panes after the
   * question's add up to the missing ones, less than 0. The asking event's value counts where it is new.
   */
  #correctDistinct(
    i: number,
    key: number,
    own: EventInputs | null,
    pane: number,
    totalInts: Int32Array,
  ): void {
    const { field, condition, ints: slot, windows: asked } = this.plan.distincts[i] as DistinctPlan;
    const { ints: numbers, newest, oldest, stride } = this.#store.panes;
    const answers = this.#windowsAt * 2 + slot;
    for (let p = newest; p >= oldest && (numbers[p * 2] as number) > pane; p -= stride) {
      for (let w = 0; w < asked; w++) {
        const answer = answers + w * stride * 2;
        totalInts[answer] = (totalInts[answer] as number) - (numbers[p * 2 + slot + 1 + w] as number);
      }
    }
    if (own === null || own.holds[condition] !== 1) return;
    const value = own.codes[field] as number;
    if (value === NO_VALUE) return;
    const met = value > 0 ? (this.pairs[i] as DistinctPairs).newestUpTo(key, value, pane) : NO_PANE;
    for (let w = 0; w < asked; w++) {
      const answer = answers + w * stride * 2;
      if (met <= pane - (this.#windows[w] as number)) totalInts[answer] = (totalInts[answer] as number) + 1;
    }
  }

  /** Notes that the key met the event's value, and moves the pair's count from its newest pane so far to this one. */
  #distinguish(
    i: number,
    floats: Float64Array,
    ints: Int32Array,
    at: number,
    key: number,
    event: EventInputs,
    pane: number,
  ): void {
    const { field, condition, ints: slot, windows: asked } = this.plan.distincts[i] as DistinctPlan;
    if (event.holds[condition] !== 1) return;
    const known = event.codes[field] as number;
    if (known === NO_VALUE) return;
    const value = known > 0 ? known : event.reference(field);
    const pairs = this.pairs[i] as DistinctPairs;
    if (!pairs.add(key, value, pane, this.#settled)) return;
    const { before, after } = pairs;
    const isNewest = after === NO_PANE;
    if (isNewest) this.#countPair(ints, at, pane, slot, 1);
    if (before === NO_PANE && isNewest) {
      if (known > 0) event.reference(field);
      return;
    }
    if (isNewest) this.#countPair(ints, at, before, slot, -1);
    for (let w = 0; w < asked; w++) {
      // From `from` to before `until` a window has the pair, but not by the pane that is its newest now.
      const panes = this.#windows[w] as number;
      const from = isNewest ? before : Math.max(pane, before + panes);
      const until = isNewest ? Math.min(pane, before + panes) : Math.min(after, pane + panes);
      if (from >= until || until <= this.#reach) continue;
      if (from > this.#reach) this.#markPair(floats, ints, at, from, slot + 1 + w, 1);
      this.#markPair(floats, ints, at, until, slot + 1 + w, -1);
    }
  }

  /** Adds to how many pairs have a pane as their newest, there and in the windows that it is in. */
  #countPair(ints: Int32Array, at: number, pane: number, slot: number, by: number): void {
    const place = this.#store.find(pane);
    if (place < 0) return; // dropped, and so in no window
    const numbers = this.#store.panes.ints;
    numbers[place * 2 + slot] = (numbers[place * 2 + slot] as number) + by;
    const behind = (ints[at * 2 + this.#intsAt + END] as number) - pane;
    for (let w = 0; w < this.#windows.length; w++) {
      if (behind >= (this.#windows[w] as number)) continue;
      const total = (at + this.#windowsAt + w * this.#stride) * 2 + slot;
      ints[total] = (ints[total] as number) + by;
    }
  }

  #markPair(
    floats: Float64Array,
    ints: Int32Array,
    at: number,
    pane: number,
    slot: number,
    by: number,
  ): void {
    const place = this.#open(floats, ints, at, pane) * 2 + slot;
    const numbers = this.#store.panes.ints;
    numbers[place] = (numbers[place] as number) + by;
  }

  // ——— panes ———

  /** Sets a range to some of the located panes. */
  #cut(range: PaneRange, oldest: number, newest: number): void {
    const { floats, ints } = this.#store.panes;
    // To store what is there already costs more than to look.
    if (range.floats !== floats) {
      range.floats = floats;
      range.ints = ints;
    }
    range.oldest = oldest;
    range.newest = newest;
  }

  /** Locates the key's panes and answers where one begins; makes it where it is not there. It must not be dead. */
  #open(floats: Float64Array, ints: Int32Array, at: number, pane: number): number {
    const store = this.#store;
    store.locate(ints, at);
    const found = store.find(pane);
    if (found >= 0) return found;
    this.#drop(floats, ints, at);
    const place = store.insert(ints, at, pane);
    const { panes } = store;
    const { summaries, accumulators } = this.plan;
    for (let i = 0; i < summaries.length; i++) {
      emptySummary(summaries[i] as SummaryPlan, panes.floats, panes.ints, place);
    }
    for (let i = 0; i < accumulators.length; i++) {
      const one = accumulators[i] as AccumulatorPlan;
      one.algebra.prepare(panes.floats, place + one.floats);
    }
    const header = at * 2 + this.#intsAt;
    const behind = (ints[header + END] as number) - pane;
    for (let w = 0; w < this.#windows.length; w++) {
      if (behind >= (this.#windows[w] as number)) continue;
      ints[header + COUNTS + w] = (ints[header + COUNTS + w] as number) + 1;
      const oldest = (at + this.#windowsAt + w * this.#stride) * 2;
      if (pane < (ints[oldest] as number)) ints[oldest] = pane;
    }
    return place;
  }

  /** Takes the dead panes off the key's panes, and out of windows that still have them. */
  #drop(floats: Float64Array, ints: Int32Array, at: number): void {
    const store = this.#store;
    if (!store.reaches(ints, at, this.#dead)) return;
    store.locate(ints, at);
    const { panes } = store;
    let dropped = 0;
    for (
      let p = panes.oldest;
      p <= panes.newest && (panes.ints[p * 2] as number) <= this.#dead;
      p += panes.stride
    ) {
      this.#rates?.drop(floats, at + this.plan.ratesAt, panes, p);
      this.#sketches?.drop(panes, p);
      dropped++;
    }
    const left = (panes.newest - panes.oldest) / panes.stride + 1 - dropped;
    for (let w = 0; w < this.#windows.length; w++) {
      const extra = (ints[at * 2 + this.#intsAt + COUNTS + w] as number) - left;
      if (extra > 0) this.#takeOldest(floats, ints, at, w, extra);
    }
    store.dropOldest(ints, at, dropped);
  }
}

/** Adds an integer slot of some panes to `into[at]`, or takes it away. */
function addInts(into: Int32Array, at: number, panes: PaneRange, slot: number, sign: 1 | -1): void {
  let total = 0;
  for (let p = panes.newest; p >= panes.oldest; p -= panes.stride)
    total += panes.ints[p * 2 + slot] as number;
  into[at] = (into[at] as number) + sign * total;
}
