import type { AcceptedEvent, Example, FeatureVector } from "@millrace/contracts";
import { checkedDurationMs, type LineDefinition } from "@millrace/lines";

export interface LabelJoinSnapshot {
  readonly vectors: readonly FeatureVector[];
  readonly labels: readonly EarlyLabel[];
  readonly counts: LabelCounts;
}

interface EarlyLabel {
  readonly id: string;
  readonly time: number;
  readonly label: number;
}

/** matched: one example each. expired: vectors whose label did not come in time. unmatched: labels without a vector. */
export interface LabelCounts {
  matched: number;
  expired: number;
  unmatched: number;
}

/**
 * One example per vector and label, whichever comes first, in the order in which the second of them comes. What
 * waits longer than `label.waitFor` (event time) is forgotten and counted, so that memory is bounded.
 */
export class LabelJoin {
  readonly #line: LineDefinition;
  readonly #waitMs: number;
  /** In order of arrival; expiry looks at the oldest first. */
  readonly #vectors: Map<string, FeatureVector>;
  readonly #labels: Map<string, EarlyLabel>;
  readonly #counts: LabelCounts;

  constructor(line: LineDefinition, snapshot: LabelJoinSnapshot | null) {
    this.#line = line;
    this.#waitMs = checkedDurationMs(line.label.waitFor);
    this.#vectors = new Map(snapshot?.vectors.map((vector) => [vector.id, vector]));
    this.#labels = new Map(snapshot?.labels.map((label) => [label.id, label]));
    this.#counts = { ...(snapshot?.counts ?? { matched: 0, expired: 0, unmatched: 0 }) };
  }

  get counts(): Readonly<LabelCounts> {
    return this.#counts;
  }

  /** Vectors whose label has not come yet. */
  get waiting(): number {
    return this.#vectors.size;
  }

  /** A new vector; the example when its label is there already. */
  addVector(vector: FeatureVector): Example | null {
    const early = this.#labels.get(vector.id);
    if (early !== undefined) {
      this.#labels.delete(vector.id);
      return this.#match(vector, early.time, early.label);
    }
    this.#vectors.set(vector.id, vector);
    return null;
  }

  /** An event of the label's stream; the example when its vector is there already. */
  addLabel(event: AcceptedEvent, positive: boolean): Example | null {
    const id = String(event.data[this.#line.label.match]);
    const label = positive ? 1 : 0;
    const vector = this.#vectors.get(id);
    if (vector === undefined) {
      this.#labels.set(id, { id, time: event.time, label });
      return null;
    }
    this.#vectors.delete(id);
    return this.#match(vector, event.time, label);
  }

  /** Forgets what has waited too long at stream time `now`. */
  expire(now: number): void {
    this.#counts.expired += dropOlder(this.#vectors, now - this.#waitMs);
    this.#counts.unmatched += dropOlder(this.#labels, now - this.#waitMs);
  }

  snapshot(): LabelJoinSnapshot {
    return {
      vectors: [...this.#vectors.values()],
      labels: [...this.#labels.values()],
      counts: { ...this.#counts },
    };
  }

  /** A label that is known before the event is due (an early landing cannot be) counts from the event on. */
  #match(vector: FeatureVector, knownAt: number, label: number): Example {
    this.#counts.matched++;
    const { id, time, values, features } = vector;
    return { id, time, knownAt: Math.max(knownAt, time), label, values, features };
  }
}

/** Drops from the front while older than `before`; stops at the first that is not. */
function dropOlder(map: Map<string, { readonly time: number }>, before: number): number {
  let dropped = 0;
  for (const [id, { time }] of map) {
    if (time >= before) break;
    map.delete(id);
    dropped++;
  }
  return dropped;
}
