import { createEventReader, DedupWindow, REASONS } from "@millrace/events";
import { describe, expect, it } from "vitest";
import { BAD_KINDS, badEvent } from "./bad-events.ts";
import line from "./line.ts";

const context = {
  nowMs: Date.UTC(2026, 0, 1),
  accepted: {
    flight: "ATL-SAV-1",
    due: "2001-01-05T06:00:00.000Z",
    origin: "ATL",
    destination: "SAV",
    distance: 215,
  },
};
const read = createEventReader(line, "departures");

describe("bad events", () => {
  it.each(BAD_KINDS.map((kind, n) => [kind, n] as const))("%s is rejected for its reason", (kind, n) => {
    for (const number of [n, n + BAD_KINDS.length]) {
      const bad = badEvent(number, context);
      expect(bad.kind).toBe(kind);
      const outcome = read({ ...bad, timestampMs: context.nowMs });
      if (bad.reason === "duplicate-id") {
        const window = new DedupWindow();
        window.admit(context.accepted.flight);
        expect(outcome.kind === "accepted" && !window.admit(outcome.event.id)).toBe(true);
      } else {
        expect(outcome).toMatchObject({ kind: "rejected", reason: bad.reason });
      }
    }
  });

  it("come in at least 25 kinds and with every reason that the line can give", () => {
    expect(BAD_KINDS.length).toBeGreaterThanOrEqual(25);
    const reasons = new Set<string>(BAD_KINDS.map((_, n) => badEvent(n, context).reason));
    // The line's categories have no list of values, and it has neither schemas nor decimals nor blobs.
    expect(Object.keys(REASONS).filter((code) => !reasons.has(code))).toEqual([
      "bad-schema-frame",
      "unknown-schema",
      "bad-schema",
      "not-by-schema",
      "too-precise",
      "not-a-category",
      "bad-blob",
      "too-large-blob",
      "unknown-claim",
      "too-late",
    ]);
  });
});
