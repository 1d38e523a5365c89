import type { IdBytes } from "@millrace/contracts";
import { type IdPlace, TextSlab, type TextSlabSnapshot } from "./text-slab.ts";

const PAGE_ROWS = 1_024;

/** As it is: live arrays. */
export interface VectorSlabSnapshot {
  /** [rows of the page x width] each. */
  readonly values: readonly Float64Array[];
  /** [rows of the page] each. */
  readonly ids: readonly Int32Array[];
  readonly free: number;
  readonly texts: TextSlabSnapshot;
}

/**
 * Vectors with their ids, by the number of their row, in pages: growing copies nothing, and a page that did not change
 * is the same bytes in the next checkpoint. Rows that were freed are used again, the last freed first.
 */
export class VectorSlab {
  readonly #width: number;
  readonly #values: Float64Array[];
  /** Where the id lies; of a free row, the next free one or -1. */
  readonly #ids: Int32Array[];
  readonly #texts: TextSlab;
  /** First free row; -1: none. */
  #free: number;

  constructor(width: number, snapshot: VectorSlabSnapshot | null) {
    this.#width = width;
    this.#values = [...(snapshot?.values ?? [])];
    this.#ids = [...(snapshot?.ids ?? [])];
    this.#texts = new TextSlab(snapshot?.texts ?? null);
    this.#free = snapshot?.free ?? -1;
  }

  get bytes(): number {
    const perRow = this.#width * Float64Array.BYTES_PER_ELEMENT + Int32Array.BYTES_PER_ELEMENT;
    return this.#ids.length * PAGE_ROWS * perRow + this.#texts.bytes;
  }

  /** Copies an id and `width` values; answers their row. */
  put(id: IdBytes, values: ArrayLike<number>): number {
    if (this.#free < 0) this.#addPage();
    const row = this.#free;
    const ids = this.#ids[Math.floor(row / PAGE_ROWS)] as Int32Array;
    this.#free = ids[row % PAGE_ROWS] as number;
    ids[row % PAGE_ROWS] = this.#texts.put(id);
    const page = this.#values[Math.floor(row / PAGE_ROWS)] as Float64Array;
    const at = (row % PAGE_ROWS) * this.#width;
    for (let i = 0; i < this.#width; i++) page[at + i] = values[i] as number;
    return row;
  }

  /** Fills in a vector: where its id lies, until a vector is put, and a copy of its values. */
  read(row: number, id: IdPlace, values: Float64Array): void {
    this.#texts.find((this.#ids[Math.floor(row / PAGE_ROWS)] as Int32Array)[row % PAGE_ROWS] as number, id);
    const page = this.#values[Math.floor(row / PAGE_ROWS)] as Float64Array;
    const at = (row % PAGE_ROWS) * this.#width;
    for (let i = 0; i < this.#width; i++) values[i] = page[at + i] as number;
  }

  free(row: number): void {
    const ids = this.#ids[Math.floor(row / PAGE_ROWS)] as Int32Array;
    this.#texts.free(ids[row % PAGE_ROWS] as number);
    ids[row % PAGE_ROWS] = this.#free;
    this.#free = row;
  }

  snapshot(): VectorSlabSnapshot {
    return {
      values: [...this.#values],
      ids: [...this.#ids],
      free: this.#free,
      texts: this.#texts.snapshot(),
    };
  }

  #addPage(): void {
    const first = this.#ids.length * PAGE_ROWS;
    this.#values.push(new Float64Array(PAGE_ROWS * this.#width));
    this.#ids.push(
      Int32Array.from({ length: PAGE_ROWS }, (_, i) => (i + 1 < PAGE_ROWS ? first + i + 1 : -1)),
    );
    this.#free = first;
  }
}
