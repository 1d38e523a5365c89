import type { FeaturePlan } from "@millrace/features";
import { type FieldDefinition, isClaimed } from "@millrace/lines";
import { isText } from "./questions.ts";

/**
 * A field by whose values all windows of a line are kept apart, perhaps with others beside it: events of one value
 * never count in a vector of another. So they can be replayed one group of values after the other, by engines that are
 * small enough for the processor's caches, and each value's events no further than its last question.
 */
export interface CommonKey {
  /** Its name in the stream predicted on. */
  readonly field: string;
  readonly isText: boolean;
  /** Its columns in the archive: one for each stream that windows count. */
  readonly columns: readonly string[];
}

/** The first such field that holds texts or whole numbers; null when there is none. */
export function commonKey({ streams, predict, tables }: FeaturePlan): CommonKey | null {
  const fieldOf = (stream: number, field: number): readonly [name: string, field: FieldDefinition] =>
    streams[stream]?.fields[field] as (typeof streams)[number]["fields"][number];
  for (const asked of tables[0]?.askedBy ?? []) {
    if (!tables.every(({ askedBy }) => askedBy.includes(asked))) continue;
    const [name, definition] = fieldOf(predict, asked);
    const own = tables.map(({ stream, by, askedBy }) => {
      const [column, counted] = fieldOf(stream, by[askedBy.indexOf(asked)] as number);
      return { column: `${streams[stream]?.name}.${column}`, definition: counted };
    });
    const isKeyText = isText(definition);
    if (!isKeyText && definition.type !== "integer") continue;
    if ([definition, ...own.map((one) => one.definition)].some(isClaimed)) continue;
    return { field: name, isText: isKeyText, columns: [...new Set(own.map(({ column }) => column))] };
  }
  return null;
}
