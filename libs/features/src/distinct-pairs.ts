import { IntTable, type IntTableSnapshot } from "./memory/int-table.ts";
import { chunkOf, offsetOf, Slab, type SlabSnapshot } from "./memory/slab.ts";
import type { TextTable } from "./memory/text-table.ts";

/** Of an entry: the key, the value, the newest pane that holds the pair, and the first node of the older ones. */
const KEY = 0;
const VALUE = 1;
const NEWEST = 2;
const OLDER = 3;
/** Of a node: the pane, and the node of the next older pane. */
const PANE = 0;
const NEXT = 1;

/** No pane. */
export const NO_PANE: number = -(2 ** 31);

export interface DistinctPairsSnapshot {
  readonly pairs: IntTableSnapshot;
  readonly nodes: SlabSnapshot;
}

/**
 * In which panes a key has met a value, for each pair of the two: the newest pane, and the older ones as long as an
 * event or a question may come that lies before the newest.
 */
export class DistinctPairs {
  readonly #pairs: IntTable;
  readonly #nodes: Slab;
  readonly #pair = new Int32Array(2);
  /** What `add` found: the pair's panes next before and next after the one that was added; `NO_PANE`: none. */
  before: number = NO_PANE;
  after: number = NO_PANE;

  constructor(snapshot: DistinctPairsSnapshot | null) {
    this.#pairs = new IntTable(2, 2, snapshot?.pairs ?? null);
    this.#nodes = new Slab(1, snapshot?.nodes ?? null);
  }

  get size(): number {
    return this.#pairs.size;
  }

  get places(): number {
    return this.#pairs.places;
  }

  get byteLength(): number {
    return this.#pairs.byteLength + this.#nodes.byteLength;
  }

  /** The newest pane up to `pane` in which the key met the value; `NO_PANE` when there is none. */
  newestUpTo(key: number, value: number, pane: number): number {
    this.#pair[KEY] = key;
    this.#pair[VALUE] = value;
    const at = this.#pairs.find(this.#pair);
    if (at < 0) return NO_PANE;
    const { entries } = this.#pairs;
    let found = entries[at + NEWEST] as number;
    let node = entries[at + OLDER] as number;
    while (found > pane) {
      if (node === 0) return NO_PANE;
      found = this.#node(node, PANE);
      node = this.#node(node, NEXT);
    }
    return found;
  }

  /**
   * Notes that the key met the value in `pane`. Answers whether that is new, with its neighbours in `before` and
   * `after`. `settled` is a pane before which neither events nor questions come any more.
   */
  add(key: number, value: number, pane: number, settled: number): boolean {
    this.#pair[KEY] = key;
    this.#pair[VALUE] = value;
    const pairs = this.#pairs;
    const at = pairs.find(this.#pair);
    this.before = NO_PANE;
    this.after = NO_PANE;
    if (at < 0) {
      const made = pairs.insert(this.#pair);
      pairs.entries[made + NEWEST] = pane;
      return true;
    }
    const { entries } = pairs;
    const newest = entries[at + NEWEST] as number;
    if (newest === pane) return false;
    if (newest < pane) {
      this.before = newest;
      let older = entries[at + OLDER] as number;
      if (newest <= settled && older !== 0) {
        this.#freeFrom(older);
        older = 0;
      }
      entries[at + OLDER] = this.#makeNode(newest, older);
      entries[at + NEWEST] = pane;
      return true;
    }
    return this.#addOlder(entries, at, pane, newest);
  }

  /**
   * Looks at what lies at a place 0..places-1: forgets the pair when its newest pane is `dead` or before, else its
   * panes that no question needs. Answers whether the place must be looked at again, as another pair moved there.
   */
  sweep(place: number, dead: number, settled: number, texts: TextTable): boolean {
    const pairs = this.#pairs;
    const at = pairs.visit(place);
    if (at < 0) return false;
    const { entries } = pairs;
    if ((entries[at + NEWEST] as number) <= dead) {
      this.#freeFrom(entries[at + OLDER] as number);
      texts.release(entries[at + VALUE] as number);
      pairs.remove(at);
      return true;
    }
    // Of the panes up to `settled` the newest one answers for all.
    let node = entries[at + OLDER] as number;
    let settledFound = (entries[at + NEWEST] as number) <= settled;
    if (settledFound && node !== 0) {
      this.#freeFrom(node);
      entries[at + OLDER] = 0;
      return false;
    }
    while (node !== 0 && !settledFound) {
      settledFound = this.#node(node, PANE) <= settled;
      const next = this.#node(node, NEXT);
      if (settledFound && next !== 0) {
        this.#freeFrom(next);
        this.#setNext(node, 0);
      }
      node = next;
    }
    return false;
  }

  /** Live arrays: to be copied or written before the pairs are used again. */
  snapshot(): DistinctPairsSnapshot {
    return { pairs: this.#pairs.snapshot(), nodes: this.#nodes.snapshot() };
  }

  #addOlder(entries: Int32Array, at: number, pane: number, newest: number): boolean {
    let node = entries[at + OLDER] as number;
    let newer = 0;
    this.after = newest;
    while (node !== 0 && this.#node(node, PANE) > pane) {
      this.after = this.#node(node, PANE);
      newer = node;
      node = this.#node(node, NEXT);
    }
    if (node !== 0) {
      this.before = this.#node(node, PANE);
      if (this.before === pane) return false;
    }
    const made = this.#makeNode(pane, node);
    if (newer === 0) entries[at + OLDER] = made;
    else this.#setNext(newer, made);
    return true;
  }

  #node(node: number, field: number): number {
    return (this.#nodes.ints[chunkOf(node)] as Int32Array)[offsetOf(node) * 2 + field] as number;
  }

  #setNext(node: number, next: number): void {
    (this.#nodes.ints[chunkOf(node)] as Int32Array)[offsetOf(node) * 2 + NEXT] = next;
  }

  #makeNode(pane: number, next: number): number {
    const node = this.#nodes.allocate(0);
    const ints = this.#nodes.ints[chunkOf(node)] as Int32Array;
    ints[offsetOf(node) * 2 + PANE] = pane;
    ints[offsetOf(node) * 2 + NEXT] = next;
    return node;
  }

  /** Gives back a node and all that are older. */
  #freeFrom(first: number): void {
    for (let node = first; node !== 0; ) {
      const next = this.#node(node, NEXT);
      this.#nodes.free(node, 0);
      node = next;
    }
  }
}
