import type { LiveQuality } from "@millrace/contracts";
import { qualityOf } from "@millrace/judge";

export interface ScoredSnapshot {
  readonly serving: Float32Array;
  readonly first: Float32Array;
  readonly labels: Uint8Array;
  readonly next: number;
  readonly rows: number;
}

/** The newest scores with their labels, in a ring; `first` is NaN where no first model was there to compare with. */
export class ScoredLabels {
  readonly #serving: Float32Array;
  readonly #first: Float32Array;
  readonly #labels: Uint8Array;
  #next: number;
  #rows: number;

  constructor(capacity: number, snapshot: ScoredSnapshot | null = null) {
    this.#serving = snapshot?.serving.slice() ?? new Float32Array(capacity);
    this.#first = snapshot?.first.slice() ?? new Float32Array(capacity);
    this.#labels = snapshot?.labels.slice() ?? new Uint8Array(capacity);
    this.#next = snapshot?.next ?? 0;
    this.#rows = snapshot?.rows ?? 0;
  }

  /** Labels seen over all, also those that the ring has forgotten. */
  get rows(): number {
    return this.#rows;
  }

  add(serving: number, first: number | null, label: number): void {
    this.#serving[this.#next] = serving;
    this.#first[this.#next] = first ?? Number.NaN;
    this.#labels[this.#next] = label;
    this.#next = (this.#next + 1) % this.#serving.length;
    this.#rows++;
  }

  /** Quality over what the ring holds; null when it is empty. Sorts the ring: some ms for 10,000 rows. */
  quality(): LiveQuality | null {
    const held = Math.min(this.#rows, this.#serving.length);
    if (held === 0) return null;
    const labels = this.#labels.subarray(0, held);
    const serving = qualityOf(this.#serving.subarray(0, held), labels);
    const compared = this.#first.subarray(0, held);
    const first = compared.some(Number.isNaN) ? null : qualityOf(compared, labels);
    const { rows, positives } = serving;
    return { rows, positives, serving, first, baseRate: { averagePrecision: positives / rows } };
  }

  snapshot(): ScoredSnapshot {
    return {
      serving: this.#serving.slice(),
      first: this.#first.slice(),
      labels: this.#labels.slice(),
      next: this.#next,
      rows: this.#rows,
    };
  }
}
