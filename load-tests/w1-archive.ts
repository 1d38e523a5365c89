import { join } from "node:path";
import { type Parquet, quoteFiles, quoteText } from "@millrace/parquet";
import { type Block, partitionOf } from "@millrace/stream";
import { random } from "@millrace/testkit";
import { distinctPayments, type Payment, paymentNumber, type W1Parameters } from "./w1.ts";

/** The payments of a workload as ingest archives them, and questions about them. */
export interface W1Archive {
  /** The file of a block is `DIGEST.parquet`, in the archive's folder; digests are but names here. */
  readonly blocks: readonly Block[];
  /** Payments that are no duplicates. */
  readonly events: number;
  /** Parquet with the columns n (from 0), account and time. */
  readonly questions: string;
}

/** As ingest cuts them. */
const BLOCK_ROWS = 50_000;
/** A question comes at most so long after the payment whose account it is about. */
const ASKED_AFTER_MS = 60_000;
const RECORD_MS = 20;
const FIRST_MS = Date.UTC(2024, 0, 1);

const NUMBERS = ["number", "account", "merchant", "cents", "time", "accepted_at", "offset"] as const;
const NAMES = ["currency", "country", "channel"] as const;

/** When the record of this number was accepted, ms: each at another time, in their order. */
export function acceptedAtMs(record: number): number {
  return FIRST_MS + record * RECORD_MS;
}

/**
 * Writes the payments of a workload into a folder, in blocks with the columns of ingest's archive, and so many
 * questions: about the accounts of payments drawn at random, some time after. Five million take about a minute.
 */
export async function writeW1Archive(
  folder: string,
  topic: string,
  partitions: number,
  parameters: W1Parameters,
  questions: number,
  parquet: Pick<Parquet, "write" | "queryBatches">,
  stop: AbortSignal,
): Promise<W1Archive> {
  const blocks: Block[] = [];
  const logs = Array.from({ length: partitions }, (_, partition) => new LogPartition(topic, partition));
  const drawn = new Questions(questions, parameters.seed + 1);
  const places = new Map<string, number>();
  let events = 0;
  for (const [record, payment] of distinctPayments(parameters)) {
    let partition = places.get(payment.account);
    if (partition === undefined) {
      partition = partitionOf(payment.account, partitions);
      places.set(payment.account, partition);
    }
    events++;
    drawn.offer(payment);
    const log = logs[partition] as LogPartition;
    log.add(record, payment);
    if (log.held < BLOCK_ROWS) continue;
    stop.throwIfAborted();
    blocks.push(await log.write(folder, parquet));
  }
  for (const log of logs) if (log.held > 0) blocks.push(await log.write(folder, parquet));
  const file = join(folder, "questions.parquet");
  await parquet.write(file, drawn.columns());
  return { blocks, events, questions: file };
}

/** Payments of one partition until they are written. Texts are made by DuckDB, which is much faster. */
class LogPartition {
  held = 0;
  readonly #topic: string;
  readonly #partition: number;
  #written = 0;
  readonly #numbers = NUMBERS.map(() => new Float64Array(BLOCK_ROWS));
  readonly #names = NAMES.map(() => new Array<string>(BLOCK_ROWS));

  constructor(topic: string, partition: number) {
    this.#topic = topic;
    this.#partition = partition;
  }

  add(record: number, payment: Payment): void {
    const { id, account, merchant, cents, timeMs } = payment;
    const at = this.held++;
    const offset = this.#written + at;
    const numbers = [
      paymentNumber(id),
      digitsOf(account),
      digitsOf(merchant),
      cents,
      timeMs,
      acceptedAtMs(record),
      offset,
    ];
    numbers.forEach((value, i) => {
      (this.#numbers[i] as Float64Array)[at] = value;
    });
    NAMES.forEach((name, i) => {
      (this.#names[i] as string[])[at] = payment[name];
    });
  }

  async write(
    folder: string,
    { write, queryBatches }: Pick<Parquet, "write" | "queryBatches">,
  ): Promise<Block> {
    const rows = this.held;
    const raw = join(folder, `raw-${this.#partition}.parquet`);
    const numbers = NUMBERS.map((name, i) => {
      return [
        name,
        { kind: "integer", values: (this.#numbers[i] as Float64Array).subarray(0, rows) },
      ] as const;
    });
    const names = NAMES.map((name, i) => {
      return [name, { kind: "text", values: (this.#names[i] as string[]).slice(0, rows) }] as const;
    });
    await write(raw, Object.fromEntries([...numbers, ...names]));
    const digest = `${this.#partition}-${this.#written}`;
    const file = join(folder, `${digest}.parquet`);
    const sql = `COPY (${this.#select(raw)}) TO ${quoteText(file)} (FORMAT parquet, COMPRESSION zstd)`;
    for await (const _ of queryBatches(sql)); // until it is done
    const times = (this.#numbers[NUMBERS.indexOf("time")] as Float64Array).subarray(0, rows);
    const firstOffset = this.#written;
    this.#written += rows;
    this.held = 0;
    return {
      line: this.#topic,
      topic: this.#topic,
      partition: this.#partition,
      firstOffset,
      nextOffset: this.#written,
      rows,
      digest,
      bytes: 0,
      minTimeMs: times.reduce((min, time) => Math.min(min, time)),
      maxTimeMs: times.reduce((max, time) => Math.max(max, time)),
      maxKnownAtMs: 0,
    };
  }

  #select(raw: string): string {
    const id = "printf('pay-%012d', number)";
    const field = (name: string, value: string): string => `${value} AS "payments.${name}"`;
    return `SELECT ${id} AS id, 'payments' AS stream, time, accepted_at, "offset",
      printf('${this.#topic}/${this.#partition}/%d/0', "offset") AS source,
      ${field("id", id)}, ${field("account", "printf('acct-%06d', account)")},
      ${field("merchant", "printf('shop-%04d', merchant)")},
      ${field("amount", "CAST(cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2))")},
      ${field("time", "time")}, ${NAMES.map((name) => field(name, name)).join(", ")}, ${field("scheme", "'visa debit'")}
      FROM ${quoteFiles([raw])}`;
  }
}

/** `acct-000042` -> 42. */
function digitsOf(name: string): number {
  return Number(name.slice(name.indexOf("-") + 1));
}

/** So many questions about payments drawn at random (reservoir sampling: Vitter, algorithm R, 1985). */
class Questions {
  readonly #count: number;
  readonly #draw: () => number;
  readonly #accounts: string[] = [];
  readonly #times: number[] = [];
  #offered = 0;

  constructor(count: number, seed: number) {
    this.#count = count;
    this.#draw = random(seed);
  }

  offer({ account, timeMs }: Payment): void {
    const place =
      this.#offered < this.#count ? this.#offered : Math.floor(this.#draw() * (this.#offered + 1));
    this.#offered++;
    if (place >= this.#count) return;
    this.#accounts[place] = account;
    this.#times[place] = timeMs + Math.floor(this.#draw() * ASKED_AFTER_MS);
  }

  columns(): Parameters<Parquet["write"]>[1] {
    return {
      n: { kind: "integer", values: Float64Array.from(this.#times.keys()) },
      account: { kind: "text", values: this.#accounts },
      time: { kind: "integer", values: Float64Array.from(this.#times) },
    };
  }
}
