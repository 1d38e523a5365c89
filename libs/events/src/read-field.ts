import type { Claim, FieldValue } from "@millrace/contracts";
import { type FieldDefinition, MINOR_UNITS_MAX } from "@millrace/lines";
import { decodeBase64 } from "./base64.ts";
import { toMinorUnits } from "./event-row.ts";
import { timeOfNumber, timeOfText } from "./event-time.ts";
import { ExactDecimal } from "./exact-decimal.ts";
import { isJsonObject } from "./json-object.ts";
import { describeValue, quote, Rejection, rejection } from "./reasons.ts";

/**
 * What the object store must hold before the event may be written: bytes that are to be put there and whose claim
 * then stands in the event, or a claim whose bytes somebody else has put there.
 */
export type Deposit =
  | { readonly kind: "bytes"; readonly field: string; readonly bytes: Uint8Array; readonly mediaType: string }
  | { readonly kind: "claim"; readonly field: string; readonly claim: Claim };

/** Media type of a text that went to the object store. */
export const TEXT_MEDIA_TYPE = "text/plain; charset=utf-8";

const utf8 = new TextEncoder();

/**
 * Checks one value against its field's definition. Answers the value (times as ms since the epoch), a deposit or the
 * refusal. Nothing is coerced from one kind to another: `"12"` is not a number. `value` is not null, and what
 * `JSON.parse` gives; from a schema's decoder it may also be a bigint beyond the safe integers, bytes, or an
 * `ExactDecimal`.
 */
export function readField(
  name: string,
  field: FieldDefinition,
  value: unknown,
): Exclude<FieldValue, Claim | null> | Deposit | Rejection {
  switch (field.type) {
    case "text":
    case "category":
      return typeof value === "string" ? readString(name, field, value) : wrongType(name, field.type, value);
    case "number":
    case "integer":
    case "decimal":
      return readNumeric(name, field, value);
    case "boolean":
      return typeof value === "boolean" ? value : wrongType(name, field.type, value);
    case "time":
      return readTime(name, value);
    case "blob":
      return readBlob(name, field, value);
  }
}

type Field<T extends FieldDefinition["type"]> = FieldDefinition & { readonly type: T };

function readString(
  name: string,
  field: Field<"text" | "category">,
  value: string,
): string | Deposit | Rejection {
  if (field.maxLength !== undefined && value.length > field.maxLength) {
    return rejection(
      "too-long",
      `field ${quote(name)} has ${value.length} characters, more than ${field.maxLength}`,
    );
  }
  if (!value.isWellFormed()) return rejection("bad-text", `field ${quote(name)} is not well-formed text`);
  if (field.type === "text") {
    // A text has at most three bytes for each of its characters.
    if (field.claimAbove === undefined || 3 * value.length <= field.claimAbove) return value;
    const bytes = utf8.encode(value);
    if (bytes.length <= field.claimAbove) return value;
    return { kind: "bytes", field: name, bytes, mediaType: TEXT_MEDIA_TYPE };
  }
  if (field.values !== undefined && !field.values.includes(value)) {
    return rejection(
      "not-a-category",
      `field ${quote(name)} is ${quote(value)}, not one of ${quote(field.values.join(", "))}`,
    );
  }
  return value;
}

type NumericField = Field<"number" | "integer" | "decimal">;

function readNumeric(name: string, field: NumericField, value: unknown): number | Rejection {
  if (typeof value === "bigint") {
    return rejection("out-of-range", `field ${quote(name)} is ${value}, not exact as a number`);
  }
  if (value instanceof ExactDecimal) return readExact(name, field, value);
  if (typeof value !== "number") return wrongType(name, field.type, value);
  if (!Number.isFinite(value)) return rejection("not-finite", `field ${quote(name)} is not finite`);
  if (field.type === "integer" && !Number.isSafeInteger(value)) {
    return Number.isInteger(value)
      ? rejection("out-of-range", `field ${quote(name)} is ${value}, not exact as an integer`)
      : rejection("not-an-integer", `field ${quote(name)} is ${value}`);
  }
  if (field.type === "decimal") {
    const minor = toMinorUnits(value, field.scale);
    if (Math.abs(minor) >= MINOR_UNITS_MAX) {
      return rejection(
        "out-of-range",
        `field ${quote(name)} is ${value}, not exact with ${field.scale} places`,
      );
    }
    if (minor / 10 ** field.scale !== value) return tooPrecise(name, field.scale, String(value));
  }
  return inRange(name, field, value);
}

/** A decimal that a schema gives: exact for a decimal field, the nearest double for a number. */
function readExact(name: string, field: NumericField, value: ExactDecimal): number | Rejection {
  if (field.type === "decimal") {
    const minor = value.minorUnits(field.scale);
    if (minor === null) return tooPrecise(name, field.scale, value.toString());
    const number = Number(minor);
    if (Math.abs(number) >= MINOR_UNITS_MAX) {
      return rejection(
        "out-of-range",
        `field ${quote(name)} is ${value}, not exact with ${field.scale} places`,
      );
    }
    return inRange(name, field, number / 10 ** field.scale);
  }
  return readNumeric(name, field, Number(value.toString()));
}

function inRange(name: string, field: NumericField, value: number): number | Rejection {
  if ((field.min !== undefined && value < field.min) || (field.max !== undefined && value > field.max)) {
    const bounds = `${field.min ?? "any"} to ${field.max ?? "any"}`;
    return rejection("out-of-range", `field ${quote(name)} is ${value}, outside ${bounds}`);
  }
  // JSON cannot be trusted to carry the sign of zero: there is one zero.
  return value + 0;
}

function tooPrecise(name: string, scale: number, value: string): Rejection {
  return rejection("too-precise", `field ${quote(name)} is ${value}, with more than ${scale} decimal places`);
}

function readTime(name: string, value: unknown): number | Rejection {
  if (typeof value === "bigint")
    return rejection("bad-time", `field ${quote(name)} is ${describeValue(value)}`);
  if (typeof value !== "string" && typeof value !== "number") return wrongType(name, "time", value);
  if (typeof value === "number" && !Number.isFinite(value)) {
    return rejection("not-finite", `field ${quote(name)} is not finite`);
  }
  const timeMs = typeof value === "string" ? timeOfText(value) : timeOfNumber(value);
  return timeMs ?? rejection("bad-time", `field ${quote(name)} is ${describeValue(value)}`);
}

function readBlob(name: string, field: Field<"blob">, value: unknown): Deposit | Rejection {
  const tooLarge = (bytes: number): Rejection =>
    rejection("too-large-blob", `field ${quote(name)} has ${bytes} bytes, more than ${field.bytesMax}`);
  if (value instanceof Uint8Array) {
    if (value.length > field.bytesMax) return tooLarge(value.length);
    return { kind: "bytes", field: name, bytes: value, mediaType: field.mediaType };
  }
  if (typeof value === "string") {
    // Four characters are three bytes: what is too large is not decoded.
    const decoded = 3 * (value.length >>> 2) - (value.endsWith("==") ? 2 : value.endsWith("=") ? 1 : 0);
    if (decoded > field.bytesMax) return tooLarge(decoded);
    const bytes = decodeBase64(value);
    if (bytes === null) return rejection("bad-blob", `field ${quote(name)} is not base64`);
    return { kind: "bytes", field: name, bytes, mediaType: field.mediaType };
  }
  if (!isJsonObject(value)) return wrongType(name, "blob", value);
  const claim = readClaim(name, field, value);
  if (claim instanceof Rejection) return claim;
  return claim.bytes > field.bytesMax ? tooLarge(claim.bytes) : { kind: "claim", field: name, claim };
}

/** A claim that the producer gives instead of the bytes. Only its digest leads anywhere: no path, no address. */
function readClaim(
  name: string,
  field: Field<"blob">,
  value: Readonly<Record<string, unknown>>,
): Claim | Rejection {
  const { sha256, bytes, mediaType } = value;
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) {
    return rejection("bad-blob", `sha256 of field ${quote(name)} is not 64 lower-case hex digits`);
  }
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) {
    return rejection("bad-blob", `bytes of field ${quote(name)} is not a number of bytes`);
  }
  if (mediaType !== field.mediaType) {
    return rejection(
      "bad-blob",
      `mediaType of field ${quote(name)} is ${describeValue(mediaType)}, not ${quote(field.mediaType)}`,
    );
  }
  return { sha256, bytes: bytes + 0, mediaType };
}

function wrongType(name: string, type: FieldDefinition["type"], value: unknown): Rejection {
  return rejection("wrong-type", `field ${quote(name)} is ${describeValue(value)}, declared as ${type}`);
}
