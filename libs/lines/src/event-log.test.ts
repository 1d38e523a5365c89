import { describe, expect, it } from "vitest";
import type { FieldDefinition, StreamDefinition } from "./definition.ts";
import { eventLog, isClaimed } from "./event-log.ts";
import { shop } from "./testing/shop.ts";

const { payments, chargebacks } = shop.streams as Readonly<Record<string, StreamDefinition>>;
const plain: StreamDefinition = chargebacks as StreamDefinition;
const logOf = (streams: Readonly<Record<string, StreamDefinition>>) => eventLog({ name: "shop", streams });

describe("eventLog", () => {
  it("is the producers' own topic of one stream of plain JSON", () => {
    expect(logOf({ plain })).toEqual({ topic: "shop.chargebacks", direct: true });
  });

  it("is the line's topic of accepted events where there are more streams, schemas, or values in the store", () => {
    const own = { topic: "shop.events", direct: false };
    expect(eventLog(shop)).toEqual(own);
    expect(logOf({ plain: { ...plain, format: "schema-registry" } })).toEqual(own);
    expect(logOf({ payments: payments as StreamDefinition })).toEqual(own);
    expect(logOf({})).toEqual(own);
    const photo: FieldDefinition = { type: "blob", mediaType: "image/png", bytesMax: 10 };
    expect(logOf({ plain: { ...plain, fields: { ...plain.fields, photo } } })).toEqual(own);
  });
});

describe("isClaimed", () => {
  it("holds for blobs, and for texts that may be too long for an event", () => {
    expect(isClaimed({ type: "blob", mediaType: "image/png", bytesMax: 10 })).toBe(true);
    expect(isClaimed({ type: "text", claimAbove: 10 })).toBe(true);
    expect(isClaimed({ type: "text", maxLength: 10 })).toBe(false);
    expect(isClaimed({ type: "number" })).toBe(false);
  });
});
