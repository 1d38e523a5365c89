import { HEADERS, parsePosition, type SourcePosition } from "@millrace/contracts";
import { type Broker, headerText } from "./broker.ts";

/** How many offsets the first look backwards covers; each further one four times as many, up to the most. */
const SPAN = 1_000;
const SPAN_MAX = 64_000;

/** What stood in an output partition when it was taken over. */
export interface Tail {
  /** Where the search for it ended: outputs of what lies behind the checkpoint stand nowhere before. */
  readonly from: number;
  /** The highest position of each source from there on. */
  readonly highest: ReadonlyMap<string, SourcePosition>;
}

/**
 * The highest source position of each source topic among the records of an output partition in [from, end). Positions
 * of a source rise along the log (S3), so that its last record has the highest: spans are read backwards, growing,
 * until each source was found or `from` is reached.
 */
export async function highestPositions(
  broker: Broker,
  topic: string,
  partition: number,
  { from, end }: { readonly from: number; readonly end: number },
  sources: readonly string[],
): Promise<ReadonlyMap<string, SourcePosition>> {
  const found = new Map<string, SourcePosition>();
  let span = SPAN;
  for (let until = end; until > from && found.size < sources.length; span = Math.min(4 * span, SPAN_MAX)) {
    const since = Math.max(from, until - span);
    const here = new Map<string, SourcePosition>();
    for await (const records of broker.read(topic, partition, since, until)) {
      for (const record of records) {
        const position = parsePosition(headerText(record, HEADERS.source) ?? "");
        if (position === null || position.partition !== partition) continue;
        if (!sources.includes(position.topic) || found.has(position.topic)) continue;
        if (isAbove(position, here.get(position.topic))) here.set(position.topic, position);
      }
    }
    for (const [source, position] of here) found.set(source, position);
    until = since;
  }
  return found;
}

/** Whether a position of a source lies above another one of the same source; above none, it does. */
export function isAbove(
  position: Pick<SourcePosition, "offset" | "index">,
  other: SourcePosition | undefined,
): boolean {
  if (other === undefined || position.offset > other.offset) return true;
  return position.offset === other.offset && position.index > other.index;
}
