import type { FieldValue } from "@millrace/contracts";
import type { StreamDefinition } from "@millrace/lines";
import { readJsonObject } from "./json-object.ts";
import { readField } from "./read-field.ts";
import { quote, Rejection, rejection } from "./reasons.ts";

/**
 * Reads some fields of a stream's event, as a question about an entity gives them: those that are there are checked as
 * in an event, the stream's key fields must be among them, and what belongs into the object store is left out.
 */
export function readEntity(
  { fields, key }: Pick<StreamDefinition, "fields" | "key">,
  json: Uint8Array,
): Readonly<Record<string, FieldValue>> | Rejection {
  const given = readJsonObject(json, "the entity");
  if (given instanceof Rejection) return given;
  const data: Record<string, FieldValue> = {};
  for (const [name, field] of Object.entries(fields)) {
    const value = Object.hasOwn(given, name) ? given[name] : null;
    if (value === null) continue;
    const read = readField(name, field, value);
    if (read instanceof Rejection) return read;
    if (typeof read !== "object") data[name] = read;
  }
  const missing = key.find((name) => data[name] === undefined);
  return missing === undefined
    ? data
    : rejection("missing-field", `the key field ${quote(missing)} is missing`);
}
