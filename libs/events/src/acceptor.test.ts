import type { LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Acceptor, type LogRecord } from "./index.ts";

const fields = { id: { type: "text" }, at: { type: "time" }, n: { type: "integer", optional: true } };
const stream = { format: "json", id: "id", time: "at", key: ["id"], lateMax: "10s", fields };
const line = {
  name: "orders",
  partitions: 1,
  streams: {
    placed: { ...stream, topic: "placed" },
    returned: { ...stream, topic: "returned", lateMax: "1h" },
    pictured: {
      ...stream,
      topic: "pictured",
      fields: { ...fields, photo: { type: "blob", mediaType: "image/png", bytesMax: 9, optional: true } },
    },
    framed: { ...stream, topic: "framed", format: "schema-registry" },
  },
  limits: { eventBytesMax: 2_000, aheadMax: "1h" },
} as unknown as LineDefinition;
const NOW_MS = 1_800_000_000_000;
const SECOND = 1_000;

function record(topic: string, value: unknown, headers: Record<string, string> = {}): LogRecord {
  const utf8 = new TextEncoder();
  const bytes = utf8.encode(typeof value === "string" ? value : JSON.stringify(value));
  return {
    topic,
    key: utf8.encode("k"),
    value: bytes,
    headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, utf8.encode(text)])),
    timestampMs: NOW_MS,
    bytes,
    valueStart: 0,
    valueEnd: bytes.length,
  };
}
const order = (id: string, secondsAgo: number): LogRecord =>
  record("placed", { id, at: NOW_MS - secondsAgo * SECOND });

describe("an acceptor", () => {
  it("refuses known ids, by stream, and counts all that it saw", () => {
    const acceptor = new Acceptor(line);
    expect(acceptor.accept(order("a", 0))).toMatchObject({ kind: "accepted", event: null, streamIndex: 0 });
    expect(acceptor.accept(order("a", 0))).toMatchObject({ reason: "duplicate-id" });
    // The slow reader's ids are the fast reader's.
    const escaped = record("placed", `{"id":"\\u0061","at":${NOW_MS}}`);
    expect(acceptor.accept(escaped)).toMatchObject({ reason: "duplicate-id" });
    expect(acceptor.accept(record("returned", { id: "a", at: NOW_MS }))).toMatchObject({ streamIndex: 1 });
    expect(acceptor.accept(record("placed", "{"))).toMatchObject({ reason: "not-json" });
    expect(acceptor.counts()).toEqual({
      "received.placed": 4,
      "accepted.placed": 1,
      "received.returned": 1,
      "accepted.returned": 1,
      rejected: 3,
      "rejected.duplicate-id": 2,
      "rejected.not-json": 1,
    });
    expect(acceptor.streamTimeMs).toBe(NOW_MS);
  });

  it("refuses events behind the watermark and says by how much; known ones it calls known", () => {
    const acceptor = new Acceptor(line);
    expect(acceptor.watermarkMs("placed")).toBe(Number.NEGATIVE_INFINITY);
    expect(acceptor.accept(order("first", 1_000)).kind).toBe("accepted");
    for (let i = 0; i < 8; i++) acceptor.accept(order(`o-${i}`, i));
    expect(acceptor.watermarkMs("placed")).toBe(NOW_MS - 17 * SECOND);
    expect(acceptor.accept(order("late", 17)).kind).toBe("accepted");
    const refused = acceptor.accept(order("later", 18.5));
    expect(refused).toMatchObject({ reason: "too-late" });
    expect((refused as { detail: string }).detail).toMatch(/1\.5 s older .*lateMax of 10s/);
    expect(acceptor.accept(order("first", 1_000))).toMatchObject({ reason: "duplicate-id" });
    // What was refused may come again, corrected.
    expect(acceptor.accept(order("later", 5)).kind).toBe("accepted");
    expect(acceptor.watermarkMs("returned")).toBe(Number.NEGATIVE_INFINITY);
  });

  it("gives events with an envelope to the slow reader", () => {
    const acceptor = new Acceptor(line);
    const headers = { ce_specversion: "1.0", ce_id: "ce-1", ce_source: "/s", ce_type: "placed" };
    expect(acceptor.accept(record("placed", { at: NOW_MS }, { ...headers }))).toMatchObject({
      kind: "accepted",
      event: { id: "ce-1" },
    });
    expect(
      acceptor.accept(record("placed", { id: "x", at: NOW_MS }, { "Content-Type": "text/xml" })),
    ).toMatchObject({
      reason: "unsupported-content-type",
    });
    const large = { ...order("y", 0), key: new Uint8Array(5_000) };
    expect(acceptor.accept(large)).toMatchObject({ reason: "key-too-large" });
    expect(
      acceptor.accept(record("placed", { id: "y", at: NOW_MS }, { note: "x".repeat(70_000) })),
    ).toMatchObject({
      reason: "headers-too-large",
    });
    expect(acceptor.accept({ ...order("z", 0), value: null, valueStart: -1, valueEnd: -1 })).toMatchObject({
      reason: "empty-value",
    });
  });

  it("lets somebody else fetch what an event needs before it is admitted", () => {
    const acceptor = new Acceptor(line);
    const bare = record("pictured", { id: "a", at: NOW_MS, photo: "aGk=" });
    expect(() => acceptor.accept(bare)).toThrow("deposits");
    const read = acceptor.read(bare);
    if (read?.kind !== "accepted") throw new Error("not read");
    expect(read.deposits).toEqual([
      { kind: "bytes", field: "photo", bytes: new TextEncoder().encode("hi"), mediaType: "image/png" },
    ]);
    const claim = { sha256: "ab".repeat(32), bytes: 2, mediaType: "image/png" };
    const admitted = acceptor.admit(bare, read, [claim]);
    expect(admitted).toMatchObject({ event: { id: "a", data: { photo: claim } } });
    expect(acceptor.admit(bare, read, [claim])).toMatchObject({ reason: "duplicate-id" });
    expect(acceptor.read(record("pictured", { id: "b", at: NOW_MS }))).toBeNull();
    expect(() => acceptor.accept(record("framed", { id: "b", at: NOW_MS }))).toThrow("schema");
    expect(acceptor.counts()["received.pictured"]).toBe(2);
  });

  it("decides the same over a snapshot at any record (E4)", () => {
    const next = fc.record({
      topic: fc.constantFrom("placed", "returned"),
      id: fc.integer({ min: 0, max: 30 }).map(String),
      secondsAgo: fc.integer({ min: 0, max: 60 }),
      isBroken: fc.boolean(),
      restart: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(next, { maxLength: 80 }), (steps) => {
        const whole = new Acceptor(line);
        let parts = new Acceptor(line);
        for (const { topic, id, secondsAgo, isBroken, restart } of steps) {
          const given = record(topic, isBroken ? "{" : { id, at: NOW_MS - secondsAgo * SECOND });
          const [expected, found] = [whole.accept(given), parts.accept(given)];
          expect(found.kind === "rejected" ? found.reason : "accepted").toBe(
            expected.kind === "rejected" ? expected.reason : "accepted",
          );
          if (restart) parts = new Acceptor(line, structuredClone(parts.snapshot()));
        }
        expect(parts.counts()).toEqual(whole.counts());
        expect(parts.snapshot()).toEqual(whole.snapshot());
      }),
    );
  });
});
