import type { JsonObject } from "./json-object.ts";
import type { IncomingRecord } from "./read-event.ts";
import type { Rejection } from "./reasons.ts";

export type OpenedRecord = JsonObject | Rejection;

/**
 * The port to the schemas of producers' records. The adapter is `libs/schemas`; services name only this port.
 */
export interface SchemaReader {
  /**
   * The data of a record of a serialiser of a schema registry, or why it has none; a promise only where a schema is to
   * be fetched first. The promise rejects with a SchemaRegistryUnavailableError: then nothing is known about the record,
   * and it is to be opened again later.
   */
  open(record: IncomingRecord): OpenedRecord | Promise<OpenedRecord>;
}

/** The registry is away, slow, or refuses: nothing is known about the schema. Ask again later. */
export class SchemaRegistryUnavailableError extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(`schema registry: ${reason}`, options);
    this.name = "SchemaRegistryUnavailableError";
  }
}
