/** Archived examples by column, all of the same length. An event has one row per revision, in any order. */
export interface RevisionColumns {
  readonly ids: readonly (string | null)[];
  /** Event time ms. */
  readonly times: Float64Array;
  /** Event time ms at which the label became known. */
  readonly knownAt: Float64Array;
  /** 0 for the first example of an event; each further one supersedes those before it. */
  readonly revisions: Float64Array;
  /** Wall-clock ms at which the vector's event and the label's event were accepted. */
  readonly vectorAcceptedAt: Float64Array;
  readonly labelAcceptedAt: Float64Array;
}

/** What is known by when. */
export interface KnownBy {
  /** Event time ms: what a replay up to then would know. */
  readonly knownAtMs: number;
  /** Wall-clock ms: what had been accepted by then. null: whatever is archived. */
  readonly acceptedAtMs: number | null;
}

/**
 * The rows to learn from: of each event the newest revision among those that are known, none of the superseded ones.
 * Row numbers in their order. An event is an id and its event time, so that one whose id comes again, after
 * deduplication has forgotten it, supersedes nothing.
 */
export function newestKnown(columns: RevisionColumns, { knownAtMs, acceptedAtMs }: KnownBy): number[] {
  const { ids, times, knownAt, revisions, vectorAcceptedAt, labelAcceptedAt } = columns;
  const acceptedBy = acceptedAtMs ?? Number.POSITIVE_INFINITY;
  const known: number[] = [];
  for (let row = 0; row < ids.length; row++) {
    const isAccepted =
      (vectorAcceptedAt[row] as number) <= acceptedBy && (labelAcceptedAt[row] as number) <= acceptedBy;
    if ((knownAt[row] as number) <= knownAtMs && isAccepted) known.push(row);
  }
  // Corrections are few: only they can supersede, and only they need to be looked up.
  const corrections = Map.groupBy(
    known.filter((row) => (revisions[row] as number) > 0),
    (row) => ids[row],
  );
  if (corrections.size === 0) return known;
  return known.filter((row) => {
    const later = corrections.get(ids[row] as string | null);
    return !later?.some(
      (other) => times[other] === times[row] && (revisions[other] as number) > (revisions[row] as number),
    );
  });
}

/**
 * Up to which event time, not including, events are ripe to be learnt from. Where silence means no, an event whose
 * wait is not over has an example only if its label has come early: a set of such rows would say that nearly all is
 * positive. `waitMs`: the line's `label.waitFor`.
 */
export function ripeUntil(
  label: { readonly silence: "unknown" | "negative"; readonly waitMs: number },
  knownAtMs: number,
): number {
  return label.silence === "negative" ? knownAtMs - label.waitMs : Number.POSITIVE_INFINITY;
}
