import type { AcceptedEvent } from "@millrace/contracts";
import type { EventRow } from "@millrace/events";
import type { FieldDefinition, LineDefinition } from "@millrace/lines";

/** Whether an event of the label's stream says "yes". False for events of other streams, and without a label. */
export function isPositive(
  { label }: Pick<LineDefinition, "label">,
  event: Pick<AcceptedEvent, "stream" | "data">,
): boolean {
  if (label === null || event.stream !== label.from) return false;
  return Number(event.data[label.positive.field] ?? Number.NaN) > label.positive.above;
}

/** The same of rows. */
export function isPositiveRow({
  label,
  streams,
}: Pick<LineDefinition, "label" | "streams">): (row: Pick<EventRow, "stream" | "numbers">) => boolean {
  if (label === null) return () => false;
  const { from, positive } = label;
  const fields = streams[from]?.fields ?? {};
  const index = Object.keys(fields).indexOf(positive.field);
  const unit = unitOf(fields[positive.field]);
  return ({ stream, numbers }) => stream === from && (numbers[index] as number) / unit > positive.above;
}

/** How many of a row's units are 1: rows hold decimals in minor units. */
export function unitOf(field: FieldDefinition | undefined): number {
  return field?.type === "decimal" ? 10 ** field.scale : 1;
}
