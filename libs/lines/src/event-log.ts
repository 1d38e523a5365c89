import { lineTopic } from "@millrace/contracts";
import type { FieldDefinition, LineDefinition } from "./definition.ts";

/** Where a line's accepted events stand, in one order per partition. */
export interface EventLog {
  readonly topic: string;
  /** The topic is the producer's own: each reader accepts for itself, by the same rules. */
  readonly direct: boolean;
}

/**
 * The event log of a line: `LINE.events`; or the producer's own topic, without a second hop, where the line has one
 * stream, in JSON, none of whose values goes to the object store.
 */
export function eventLog({ name, streams }: Pick<LineDefinition, "name" | "streams">): EventLog {
  const [only, ...others] = Object.values(streams);
  const direct =
    only !== undefined &&
    others.length === 0 &&
    only.format === "json" &&
    !Object.values(only.fields).some(isClaimed);
  return { topic: direct ? only.topic : lineTopic(name, "events"), direct };
}

/** Whether values of a field can lie in the object store, so that the event carries a `Claim` in their place. */
export function isClaimed(field: FieldDefinition): boolean {
  return field.type === "blob" || (field.type === "text" && field.claimAbove !== undefined);
}
