import { Computation } from "@millrace/computation";
import { HEADERS, lineTopic, parsePosition, readVector } from "@millrace/contracts";
import { compileFeatures, type FeaturePlan, featuresReachMs } from "@millrace/features";
import { eventLog, type LineDefinition } from "@millrace/lines";
import { type Block, type Broker, headerText, type StreamRecord } from "@millrace/stream";
import { type ArchivePorts, blocksOf, replay, type Span } from "./replay.ts";

export interface VerifyPorts extends ArchivePorts {
  readonly broker: Pick<Broker, "offsets" | "read">;
}

/** One value that was served otherwise than a replay computes it. null: not known. */
export interface Difference {
  readonly id: string;
  /** Offset of the event in the event log. */
  readonly offset: number;
  readonly feature: string;
  readonly served: number | null;
  readonly computed: number | null;
}

export interface Verification {
  readonly partition: number;
  /** Events of the log whose vectors were looked at. */
  readonly span: Span;
  /** Vectors compared, and values. */
  readonly vectors: number;
  readonly values: number;
  /** Vectors that differ in some value. */
  readonly differing: number;
  /** Vectors that a replay computes and that were not served, and the other way round. */
  readonly missing: number;
  readonly surplus: number;
  /** The first of the differences. */
  readonly differences: readonly Difference[];
}

const DIFFERENCES_MAX = 20;

/** Whether what was served is what a replay computes. */
export function isReproduced({ differing, missing, surplus }: Verification): boolean {
  return differing === 0 && missing === 0 && surplus === 0;
}

/**
 * Computes the vectors of the events in a span of one partition's event log again, from the archive alone, by the code
 * of the stream, and compares each value with the one that was served on `LINE.features`, bit for bit. It begins as far
 * back as the features reach. Vectors of another feature definition are left out, as are those that the topic no longer
 * holds. Throws a RangeError when the archive does not hold the span.
 */
export async function verifySpan(
  line: LineDefinition,
  featureDigest: string,
  partition: number,
  span: Span,
  blocks: readonly Block[],
  ports: VerifyPorts,
  signal: AbortSignal,
): Promise<Verification> {
  const served = await readServed(line, featureDigest, partition, span, ports, signal);
  const computation = new Computation(line, featureDigest, null);
  const { names } = computation.plan;
  const from = replayedFrom(computation.plan, span, blocks);

  const text = new TextDecoder();
  const differences: Difference[] = [];
  let [vectors, differing, missing] = [0, 0, 0];
  let offset = 0;
  const sink = {
    vector: (
      id: { bytes: Uint8Array; start: number; end: number },
      _time: number,
      values: Float64Array,
    ): void => {
      if (offset < served.from) return;
      const found = served.vectors.get(offset);
      served.vectors.delete(offset);
      if (found === undefined) {
        if (!served.others.has(offset)) missing++;
        return;
      }
      vectors++;
      const wrong = names.flatMap((feature, i): Difference[] => {
        const computed = Number.isNaN(values[i]) ? null : (values[i] as number) + 0;
        const one = found[i] ?? null;
        const name = text.decode(id.bytes.subarray(id.start, id.end));
        return Object.is(one, computed) ? [] : [{ id: name, offset, feature, served: one, computed }];
      });
      if (wrong.length > 0) differing++;
      differences.push(...wrong.slice(0, DIFFERENCES_MAX - differences.length));
    },
    example: () => {},
  };
  await replay(
    line,
    blocks,
    { from, until: span.until },
    ports,
    (row, at) => {
      offset = at;
      computation.take(row, sink);
    },
    signal,
  );
  return {
    partition,
    span: { from: Math.max(span.from, served.from), until: span.until },
    vectors,
    values: vectors * names.length,
    differing,
    missing,
    surplus: served.vectors.size,
    differences,
  };
}

/** How many events `verifySpan` takes in for a span, about. */
export function eventsToReplay(line: LineDefinition, span: Span, blocks: readonly Block[]): number {
  const from = replayedFrom(compileFeatures(line), span, blocks);
  return blocksOf(blocks, { from, until: span.until }).reduce((sum, { rows }) => sum + rows, 0);
}

/** The first event that the features of the span's events can reach back to. */
function replayedFrom(plan: FeaturePlan, span: Span, blocks: readonly Block[]): number {
  const oldestMs = blocksOf(blocks, span).reduce(
    (min, block) => Math.min(min, block.minTimeMs),
    Number.POSITIVE_INFINITY,
  );
  const reachedMs = oldestMs - featuresReachMs(plan);
  return blocks
    .filter((block) => block.maxTimeMs >= reachedMs)
    .reduce((first, block) => Math.min(first, block.firstOffset), span.from);
}

interface ServedVectors {
  /** Event offset from which the topic still holds vectors. */
  readonly from: number;
  /** By event offset. */
  readonly vectors: Map<number, readonly (number | null)[]>;
  /** Event offsets whose vectors are of another feature definition. */
  readonly others: ReadonlySet<number>;
}

async function readServed(
  line: LineDefinition,
  featureDigest: string,
  partition: number,
  span: Span,
  { broker }: VerifyPorts,
  signal: AbortSignal,
): Promise<ServedVectors> {
  const topic = lineTopic(line.name, "features");
  const source = eventLog(line).topic;
  const vectors = new Map<number, readonly (number | null)[]>();
  const others = new Set<number>();
  const bounds = (await broker.offsets(topic)).find((one) => one.partition === partition);
  if (bounds === undefined) return { from: span.until, vectors, others };
  const first = await firstFrom(broker, topic, partition, source, span.from, bounds);
  const isCut = first === bounds.first && bounds.first > 0;
  let from = isCut ? span.until : span.from;
  for await (const records of broker.read(topic, partition, first, bounds.end)) {
    signal.throwIfAborted();
    for (const record of records) {
      const offset = causeOf(record, source);
      if (offset === null || offset < span.from) continue;
      if (offset >= span.until) return { from, vectors, others };
      from = Math.min(from, offset);
      const vector = readVector(record.value);
      if (vector?.features === featureDigest) vectors.set(offset, vector.values);
      else others.add(offset);
    }
  }
  return { from, vectors, others };
}

/** The offset of the first record whose cause lies at or behind `eventOffset`: causes are in order. */
async function firstFrom(
  broker: Pick<Broker, "read">,
  topic: string,
  partition: number,
  source: string,
  eventOffset: number,
  bounds: { readonly first: number; readonly end: number },
): Promise<number> {
  let low = bounds.first;
  let high = bounds.end;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const cause = await causeBehind(broker, topic, partition, source, middle, high);
    if (cause !== null && cause < eventOffset) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function causeBehind(
  broker: Pick<Broker, "read">,
  topic: string,
  partition: number,
  source: string,
  from: number,
  until: number,
): Promise<number | null> {
  for await (const records of broker.read(topic, partition, from, until)) {
    for (const record of records) {
      const cause = causeOf(record, source);
      if (cause !== null) return cause;
    }
  }
  return null;
}

function causeOf(record: StreamRecord, source: string): number | null {
  const position = parsePosition(headerText(record, HEADERS.source) ?? "");
  return position?.topic === source ? position.offset : null;
}
