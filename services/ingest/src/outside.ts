import type { Claim } from "@millrace/contracts";
import {
  type Accepted,
  type Acceptor,
  createDecodedReader,
  type DecodedReader,
  type Deposit,
  Rejection,
  rejection,
  type SchemaReader,
  SchemaRegistryUnavailableError,
} from "@millrace/events";
import { isClaimed, type LineDefinition, type StreamDefinition } from "@millrace/lines";
import { type Log, type ObjectStore, ObjectStoreUnavailableError, sleep } from "@millrace/runtime";
import type { StreamRecord } from "@millrace/stream";

/** What some lines need of others before an event is accepted: the object store, and a registry's schemas. */
export interface Outside {
  readonly objects: ObjectStore;
  /** null: no registry is set. */
  readonly schemas: SchemaReader | null;
  readonly log: Log;
}

/** Whether events of the line need something from outside. */
export function needsOutside(line: LineDefinition): boolean {
  return Object.values(line.streams).some((stream) => hasSchema(stream) || mayDeposit(stream));
}

/** The streams of the line whose records a schema registry's schemas open. */
export function streamsWithSchemas(line: LineDefinition): readonly string[] {
  return Object.keys(line.streams).filter((name) => hasSchema(line.streams[name] as StreamDefinition));
}

const hasSchema = ({ format }: StreamDefinition): boolean => format === "schema-registry";
const mayDeposit = ({ fields }: StreamDefinition): boolean => Object.values(fields).some(isClaimed);

/** A record that was read, with what it needed. */
export interface Prepared {
  readonly outcome: Accepted | Rejection;
  /** By deposit. */
  readonly claims: readonly Claim[];
}

/** Records that are prepared at once. */
const AT_ONCE = 8;
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 10_000;

/**
 * Prepares the records of one partition: opens them by their schemas, and stores what their events only claim, before
 * anything is decided. While the registry or the store is away it waits and tries again, until `stopping` aborts; then
 * it throws the signal's reason.
 */
export class Preparation {
  /** What is waited for; null: nothing. */
  waitsFor: string | null = null;
  readonly #acceptor: Acceptor;
  readonly #outside: Outside;
  readonly #stopping: AbortSignal;
  /** By topic: how its records are read, and whether they need anything. */
  readonly #readers: ReadonlyMap<string, DecodedReader | "deposits" | "plain">;

  constructor(line: LineDefinition, acceptor: Acceptor, outside: Outside, stopping: AbortSignal) {
    this.#acceptor = acceptor;
    this.#outside = outside;
    this.#stopping = stopping;
    this.#readers = new Map(
      Object.entries(line.streams).map(([name, stream]) => [
        stream.topic,
        hasSchema(stream) ? createDecodedReader(line, name) : mayDeposit(stream) ? "deposits" : "plain",
      ]),
    );
  }

  /** By record; null where the acceptor needs nothing else. */
  async prepare(records: readonly StreamRecord[]): Promise<readonly (Prepared | null)[]> {
    const prepared = new Array<Prepared | null>(records.length).fill(null);
    let next = 0;
    const work = async (): Promise<void> => {
      for (let i = next++; i < records.length; i = next++) {
        const one = this.#prepareOne(records[i] as StreamRecord);
        prepared[i] = one instanceof Promise ? await one : one;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return prepared;
  }

  #prepareOne(record: StreamRecord): Prepared | null | Promise<Prepared> {
    const reader = this.#readers.get(record.topic);
    if (reader === "plain" || reader === undefined) return null;
    if (reader === "deposits") {
      const outcome = this.#acceptor.read(record);
      return outcome === null ? null : this.#deposit(outcome);
    }
    const { schemas } = this.#outside;
    if (schemas === null) throw new Error(`no schema registry is set for topic "${record.topic}"`);
    const opened = schemas.open(record);
    if (!(opened instanceof Promise)) return this.#deposit(reader(record, opened));
    // What the first attempt says counts; only an unavailable registry is asked again.
    let attempt: typeof opened | null = opened;
    const open = async (): Promise<Awaited<typeof opened>> => {
      const running = attempt ?? schemas.open(record);
      attempt = null;
      return running;
    };
    return this.#patiently(open).then((data) => this.#deposit(reader(record, data)));
  }

  #deposit(outcome: Accepted | Rejection): Prepared | Promise<Prepared> {
    if (outcome instanceof Rejection || outcome.deposits.length === 0) return { outcome, claims: [] };
    return this.#claim(outcome);
  }

  async #claim(outcome: Accepted): Promise<Prepared> {
    const claims: Claim[] = [];
    for (const deposit of outcome.deposits) {
      const claim = await this.#patiently(() => this.#store(deposit));
      if (claim instanceof Rejection) return { outcome: claim, claims: [] };
      claims.push(claim);
    }
    return { outcome, claims };
  }

  /** Puts bytes where their claim leads, or looks whether somebody has done so. */
  async #store(deposit: Deposit): Promise<Claim | Rejection> {
    const { objects } = this.#outside;
    if (deposit.kind === "bytes") {
      const { bytes, mediaType } = deposit;
      return { sha256: await objects.put(bytes), bytes: bytes.length, mediaType };
    }
    const { field, claim } = deposit;
    const size = await objects.size(claim.sha256);
    if (size === claim.bytes) return claim;
    const found = size === null ? "is not in the object store" : `has ${size} bytes, not ${claim.bytes}`;
    return rejection("unknown-claim", `what field "${field}" claims, ${claim.sha256}, ${found}`);
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let waitMs = RETRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)) {
      try {
        const done = await work();
        this.waitsFor = null;
        return done;
      } catch (error) {
        const isAway =
          error instanceof ObjectStoreUnavailableError || error instanceof SchemaRegistryUnavailableError;
        if (!isAway) throw error;
        if (this.waitsFor !== error.message) this.#outside.log.warn({ err: error }, "accept: waits");
        this.waitsFor = error.message;
        await sleep(waitMs, this.#stopping);
        if (this.#stopping.aborted) throw this.#stopping.reason;
      }
    }
  }
}
