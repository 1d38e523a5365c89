import type { FieldValue } from "@millrace/contracts";
import type { FieldDefinition } from "@millrace/lines";
import { timeOfNumber, timeOfText } from "./event-time.ts";
import { describeValue, quote, type Rejection, rejection } from "./reasons.ts";

/**
 * Checks one value against its field's definition. Answers the value (times as ms since the epoch) or the refusal.
 * Nothing is coerced from one kind to another: `"12"` is not a number. `value` is what `JSON.parse` gives, and not
 * null.
 */
export function readField(name: string, field: FieldDefinition, value: unknown): FieldValue | Rejection {
  switch (field.type) {
    case "text":
    case "category":
      return typeof value === "string" ? readString(name, field, value) : wrongType(name, field.type, value);
    case "number":
    case "integer":
      return typeof value === "number" ? readNumber(name, field, value) : wrongType(name, field.type, value);
    case "boolean":
      return typeof value === "boolean" ? value : wrongType(name, field.type, value);
    case "time":
      return readTime(name, value);
  }
}

function readString(
  name: string,
  field: FieldDefinition & { readonly type: "text" | "category" },
  value: string,
): string | Rejection {
  if (field.maxLength !== undefined && value.length > field.maxLength) {
    return rejection(
      "too-long",
      `field ${quote(name)} has ${value.length} characters, more than ${field.maxLength}`,
    );
  }
  if (!value.isWellFormed()) return rejection("bad-text", `field ${quote(name)} is not well-formed text`);
  if (field.type === "category" && field.values !== undefined && !field.values.includes(value)) {
    return rejection(
      "not-a-category",
      `field ${quote(name)} is ${quote(value)}, not one of ${quote(field.values.join(", "))}`,
    );
  }
  return value;
}

function readNumber(
  name: string,
  field: FieldDefinition & { readonly type: "number" | "integer" },
  value: number,
): number | Rejection {
  if (!Number.isFinite(value)) return rejection("not-finite", `field ${quote(name)} is not finite`);
  if (field.type === "integer" && !Number.isSafeInteger(value)) {
    return Number.isInteger(value)
      ? rejection("out-of-range", `field ${quote(name)} is ${value}, not exact as an integer`)
      : rejection("not-an-integer", `field ${quote(name)} is ${value}`);
  }
  if ((field.min !== undefined && value < field.min) || (field.max !== undefined && value > field.max)) {
    const bounds = `${field.min ?? "any"} to ${field.max ?? "any"}`;
    return rejection("out-of-range", `field ${quote(name)} is ${value}, outside ${bounds}`);
  }
  return value;
}

function readTime(name: string, value: unknown): number | Rejection {
  if (typeof value !== "string" && typeof value !== "number") return wrongType(name, "time", value);
  if (typeof value === "number" && !Number.isFinite(value)) {
    return rejection("not-finite", `field ${quote(name)} is not finite`);
  }
  const timeMs = typeof value === "string" ? timeOfText(value) : timeOfNumber(value);
  return timeMs ?? rejection("bad-time", `field ${quote(name)} is ${describeValue(value)}`);
}

function wrongType(name: string, type: FieldDefinition["type"], value: unknown): Rejection {
  return rejection("wrong-type", `field ${quote(name)} is ${describeValue(value)}, declared as ${type}`);
}
