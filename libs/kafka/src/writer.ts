import type { SourcePosition } from "@millrace/contracts";
import { FencedError, type Output, type Writer } from "@millrace/stream";
import type { BuilderPool } from "./builder-pool.ts";
import type { Cluster, Topic } from "./cluster.ts";
import { fence, takeId } from "./fence.ts";
import { type Outbox, Outlet } from "./outbox.ts";
import { patiently } from "./patience.ts";
import type { BatchBuilder } from "./wire/batch-builder.ts";
import { KafkaError } from "./wire/errors.ts";
import type { ProducerIdentity } from "./wire/messages/init-producer-id.ts";
import { SourceHeader } from "./wire/source-header.ts";

const HOUR_MS = 60 * 60 * 1000;
/**
 * A partition's leader forgets a producer that has written nothing for a day (`producer.id.expiration.ms`), and with it
 * that it was fenced; the coordinator forgets a transactional id after a week. So a writer shows after half a day at
 * the latest that it is still the newest of its name, and one that slept for longer writes nothing more.
 */
const RENEW_MS = 6 * HOUR_MS;
const GOOD_MS = 12 * HOUR_MS;

const INVALID_PRODUCER_ID_MAPPING = 49;

export interface WriterPorts {
  readonly cluster: Cluster;
  readonly outbox: Outbox;
  readonly builders: BuilderPool;
  /** Wall clock, for the records' times. */
  readonly now: () => number;
  /** See `ageingClock`. */
  readonly age: () => number;
}

/** What is being written to one topic. */
interface Strand {
  readonly outlet: Outlet;
  /** Takes the next record; null: none has come since the last flush. */
  filling: BatchBuilder | null;
  /** Batches that are full, in order. */
  full: BatchBuilder[];
}

/** Opens the writer of a name: fences the former ones, then learns where the topics' partitions end. */
export async function openWriter(
  ports: WriterPorts,
  name: string,
  partition: number,
  topics: readonly string[],
): Promise<Writer> {
  const { cluster, age } = ports;
  const transactionalId = `millrace.${name}.${partition}`;
  try {
    const look = async (): Promise<Topic[]> => {
      await cluster.refresh(topics);
      return Promise.all(topics.map((topic) => cluster.lookUpPartition(topic, partition)));
    };
    const { patienceMs } = cluster;
    const known = await patiently(`partition ${partition} of ${topics.join(", ")}`, look, { patienceMs });
    const startedMs = age();
    const producer = await fence(cluster, transactionalId, partition, topics);
    const partitions = topics.map((topic) => ({ topic, partition }));
    const ends = await cluster.offsets({ at: "end", partitions });
    const outlets = known.map((topic) => new Outlet(topic, partition, true, producer, startedMs + GOOD_MS));
    return new KafkaWriter(ports, transactionalId, producer, startedMs, outlets, ends);
  } catch (error) {
    throw asFenced(error, transactionalId);
  }
}

class KafkaWriter implements Writer {
  readonly ends: ReadonlyMap<string, number>;
  readonly #ports: WriterPorts;
  readonly #transactionalId: string;
  #producer: ProducerIdentity;
  #verifiedMs: number;
  readonly #strands: ReadonlyMap<string, Strand>;
  readonly #source = new SourceHeader();
  /** The strand of the record before: most often that of the next one, too. */
  #last: Strand | null = null;
  #pendingBytes = 0;
  /** All that was sent is settled. */
  #settled: Promise<unknown> = Promise.resolve();
  #renewal: Promise<void> | null = null;
  #failure: Error | null = null;

  constructor(
    ports: WriterPorts,
    transactionalId: string,
    producer: ProducerIdentity,
    verifiedMs: number,
    outlets: readonly Outlet[],
    ends: readonly number[],
  ) {
    this.#ports = ports;
    this.#transactionalId = transactionalId;
    this.#producer = producer;
    this.#verifiedMs = verifiedMs;
    this.ends = new Map(outlets.map(({ topic }, i) => [topic.name, ends[i] as number]));
    this.#strands = new Map(
      outlets.map((outlet) => [outlet.topic.name, { outlet, filling: null, full: [] } satisfies Strand]),
    );
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  append(topic: string, output: Output, cause: SourcePosition): void {
    let strand = this.#last;
    if (strand === null || strand.outlet.topic.name !== topic) {
      strand = this.#strands.get(topic) ?? null;
      if (strand === null) throw new Error(`${this.#transactionalId} was not opened for topic ${topic}`);
      this.#last = strand;
    }
    if (strand.filling !== null && strand.filling.size + sizeAtLeast(output) > strand.outlet.batchBytesMax) {
      strand.full.push(strand.filling);
      strand.filling = null;
    }
    strand.filling ??= this.#ports.builders.take();
    this.#source.set(cause);
    const nowMs = strand.filling.count === 0 ? this.#ports.now() : 0;
    this.#pendingBytes += strand.filling.append(output, this.#source, nowMs);
  }

  flush(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const batches = this.#take();
    const earlier = this.#settled;
    const sent =
      this.#renewal === null && this.#ports.age() - this.#verifiedMs < RENEW_MS
        ? this.#send(batches)
        : this.#renew(earlier).then(() => this.#send(batches));
    const flushed = Promise.all([sent, earlier]).then(() => {});
    this.#settled = flushed.catch(() => {});
    return flushed;
  }

  async stop(): Promise<void> {
    this.#fail(new Error(`${this.#transactionalId} was stopped`));
  }

  /** Writes nothing more. */
  #fail(error: Error): Error {
    this.#failure ??= error;
    for (const { outlet } of this.#strands.values()) this.#ports.outbox.drop(outlet, this.#failure);
    return this.#failure;
  }

  #take(): { readonly outlet: Outlet; readonly builder: BatchBuilder }[] {
    const batches = [];
    for (const strand of this.#strands.values()) {
      if (strand.filling !== null) strand.full.push(strand.filling);
      strand.filling = null;
      for (const builder of strand.full) batches.push({ outlet: strand.outlet, builder });
      strand.full = [];
    }
    return batches;
  }

  async #send(
    batches: readonly { readonly outlet: Outlet; readonly builder: BatchBuilder }[],
  ): Promise<void> {
    const { outbox, builders } = this.#ports;
    await Promise.all(
      batches.map(async ({ outlet, builder }) => {
        const { recordsBytes } = builder;
        try {
          await outbox.send(outlet, builder);
          builders.give(builder);
        } catch (error) {
          throw this.#fail(error as Error);
        } finally {
          this.#pendingBytes -= recordsBytes;
        }
      }),
    );
  }

  /** Shows, when nothing is under way, that this is still the newest writer of its name. */
  #renew(earlier: Promise<unknown>): Promise<void> {
    this.#renewal ??= (async () => {
      await earlier;
      const { cluster, age } = this.#ports;
      const startedMs = age();
      try {
        this.#producer = await takeId(cluster, this.#transactionalId, this.#producer);
      } catch (error) {
        throw this.#fail(asFenced(error, this.#transactionalId));
      }
      this.#verifiedMs = startedMs;
      for (const { outlet } of this.#strands.values()) outlet.renew(this.#producer, startedMs + GOOD_MS);
      this.#renewal = null;
    })();
    return this.#renewal;
  }
}

/** Close enough to cut batches by, without looking at every byte of a text. */
function sizeAtLeast({ key, value }: Output): number {
  return (key?.length ?? 0) + (value?.length ?? 0);
}

function asFenced(error: unknown, transactionalId: string): Error {
  const fenced =
    error instanceof KafkaError && (error.remedy === "fenced" || error.code === INVALID_PRODUCER_ID_MAPPING);
  return fenced
    ? new FencedError(`another writer was opened as ${transactionalId}`, { cause: error })
    : (error as Error);
}
