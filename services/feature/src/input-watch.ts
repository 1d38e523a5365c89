import { decileEdges, FeatureHistogram, populationStabilityIndex } from "@millrace/drift";
import type { LineDefinition } from "@millrace/lines";

const REFERENCE_ROWS = 3_000;
const LIVE_ROWS = 3_000;
/** By custom 0.25 is a large shift; features that follow the weather move that much on any day. */
const REPORT_PSI = 1;
const REPORT_EVERY_MS = 24 * 3_600_000;

export interface InputsSnapshot {
  readonly reference: readonly (readonly (number | null)[])[];
  readonly edges: readonly (readonly number[])[] | null;
  readonly referenceShares: readonly (readonly number[])[];
  readonly live: readonly (readonly (number | null)[])[];
  readonly shifts: readonly Shift[];
  readonly reportedAtMs: number;
}

interface Shift {
  readonly feature: string;
  readonly psi: number;
}

/**
 * How each feature is distributed now against how it was when the champion began to serve. Hour and weekday are
 * left out: they move by themselves.
 */
export class InputWatch {
  readonly #features: readonly { readonly name: string; readonly index: number }[];
  #reference: (readonly (number | null)[])[];
  #edges: readonly (readonly number[])[] | null;
  #referenceShares: readonly (readonly number[])[];
  #live: (readonly (number | null)[])[];
  #shifts: readonly Shift[];
  #reportedAtMs: number;

  constructor(line: LineDefinition, snapshot: InputsSnapshot | null) {
    this.#features = line.features
      .map(({ name, kind }, index) => ({ name, kind, index }))
      .filter(({ kind }) => kind !== "hour" && kind !== "weekday");
    this.#reference = [...(snapshot?.reference ?? [])];
    this.#edges = snapshot?.edges ?? null;
    this.#referenceShares = snapshot?.referenceShares ?? [];
    this.#live = [...(snapshot?.live ?? [])];
    this.#shifts = snapshot?.shifts ?? [];
    this.#reportedAtMs = snapshot?.reportedAtMs ?? 0;
  }

  /** A new champion: what comes now is its reference. */
  restart(): void {
    this.#reference = [];
    this.#edges = null;
    this.#live = [];
    this.#shifts = [];
  }

  /** True when a block of live rows has shown a large shift and none was reported within a day of event time. */
  add(time: number, values: readonly (number | null)[]): boolean {
    if (this.#edges === null) {
      this.#reference.push(values);
      if (this.#reference.length === REFERENCE_ROWS) this.#learnReference();
      return false;
    }
    this.#live.push(values);
    if (this.#live.length < LIVE_ROWS) return false;
    const live = this.#sharesOf(this.#live, this.#edges);
    this.#live = [];
    this.#shifts = this.#features
      .map(({ name }, i) => ({
        feature: name,
        psi: populationStabilityIndex(
          this.#referenceShares[i] as readonly number[],
          live[i] as readonly number[],
        ),
      }))
      .sort((a, b) => b.psi - a.psi);
    const large = (this.#shifts[0]?.psi ?? 0) > REPORT_PSI && time - this.#reportedAtMs >= REPORT_EVERY_MS;
    if (large) this.#reportedAtMs = time;
    return large;
  }

  /** Population stability index per feature, largest first; empty until enough rows were seen. */
  shifts(): readonly Shift[] {
    return this.#shifts;
  }

  snapshot(): InputsSnapshot {
    return {
      reference: [...this.#reference],
      edges: this.#edges,
      referenceShares: this.#referenceShares,
      live: [...this.#live],
      shifts: this.#shifts,
      reportedAtMs: this.#reportedAtMs,
    };
  }

  #learnReference(): void {
    const rows = this.#reference;
    const edges = this.#features.map(({ index }) => decileEdges(rows.map((values) => values[index] ?? null)));
    this.#referenceShares = this.#sharesOf(rows, edges);
    this.#edges = edges;
    this.#reference = [];
  }

  #sharesOf(
    rows: readonly (readonly (number | null)[])[],
    edges: readonly (readonly number[])[],
  ): number[][] {
    return this.#features.map(({ index }, i) => {
      const histogram = new FeatureHistogram(edges[i] as readonly number[]);
      for (const values of rows) histogram.add(values[index] ?? null);
      return histogram.shares();
    });
  }
}
