import { HEADERS, lineTopic } from "@millrace/contracts";
import { type Broker, headerText, type StreamRecord } from "@millrace/stream";
import { Failure } from "./failure.ts";
import { printable } from "./text.ts";

/** A record of `LINE.rejected`. */
export interface Rejection {
  /** `partition/offset` in `LINE.rejected`. */
  readonly at: string;
  readonly reason: string;
  readonly detail: string;
  /** Where the producer's record was. */
  readonly origin: { readonly topic: string; readonly partition: number; readonly offset: number } | null;
  readonly rejectedAtMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** The producer's own headers. */
  readonly headers: Readonly<Record<string, Uint8Array>>;
}

/**
 * Gives every rejection of a line, from the first kept to the newest at the time of the call, to `take`. Memory stays
 * bounded: one batch at a time. Throws a Failure when the line has no such topic.
 */
export async function readRejections(
  broker: Broker,
  line: string,
  take: (rejection: Rejection) => void,
): Promise<void> {
  const topic = lineTopic(line, "rejected");
  for (const { partition, first, end } of await partitionEnds(broker, topic, line)) {
    for await (const records of broker.read(topic, partition, first, end)) {
      for (const record of records) take(toRejection(record));
    }
  }
}

async function partitionEnds(broker: Broker, topic: string, line: string): ReturnType<Broker["offsets"]> {
  try {
    return await broker.offsets(topic);
  } catch (cause) {
    throw new Failure(
      `the topic ${topic} cannot be read`,
      `Is there a line "${line}"? \`npx millrace lines\` shows them; \`npx millrace doctor\` checks Kafka.`,
      { cause },
    );
  }
}

const OWN: ReadonlySet<string> = new Set(Object.values(HEADERS).filter((name) => name.startsWith("mr-")));

function toRejection(record: StreamRecord): Rejection {
  const origin = /^([^/]+)\/(\d+)\/(\d+)$/.exec(headerText(record, HEADERS.origin) ?? "");
  return {
    at: `${record.partition}/${record.offset}`,
    reason: headerText(record, HEADERS.reason) ?? "unknown",
    detail: headerText(record, HEADERS.detail) ?? "",
    origin:
      origin === null
        ? null
        : { topic: origin[1] as string, partition: Number(origin[2]), offset: Number(origin[3]) },
    rejectedAtMs: record.timestampMs,
    key: record.key,
    value: record.value,
    headers: Object.fromEntries(Object.entries(record.headers).filter(([name]) => !OWN.has(name))),
  };
}

/** Bytes for people: the text when it is UTF-8, else the first bytes in hex. */
export function bytesText(bytes: Uint8Array | null, max: number): string {
  if (bytes === null) return "(none)";
  try {
    const shown = printable(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return shown.length <= max ? shown : `${shown.slice(0, max)}… (${bytes.length} bytes)`;
  } catch {
    const hex = Buffer.from(bytes.subarray(0, Math.floor(max / 2))).toString("hex");
    return `0x${hex}${bytes.length > max / 2 ? "…" : ""} (${bytes.length} bytes, not UTF-8)`;
  }
}
