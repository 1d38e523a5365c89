/** `features dataset`: a training set as a Parquet file, out of the archive, by the code of the stream. */
import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import {
  type ExampleColumns,
  exampleSet,
  QuestionError,
  type Questions,
  type ReplayOrder,
  type ReplaySource,
  readQuestions,
  trainingSet,
} from "@millrace/archive";
import { canonicalJson } from "@millrace/contracts";
import { eventLog, featureNames, featurePart, isLearning, type LineDefinition } from "@millrace/lines";
import type { WriteColumn } from "@millrace/parquet";
import { sha256Hex } from "@millrace/runtime";
import type { Block } from "@millrace/stream";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import type { Clients } from "../mesh.ts";
import { count, durationText } from "../text.ts";
import { lineOf } from "./features-commands.ts";

export interface DatasetOptions {
  /** The Parquet file to write. */
  readonly out: string;
  /** Parquet or CSV; without it, the examples that the stream decided. */
  readonly questions?: string;
  readonly order: ReplayOrder;
  /** Wall clock, ms. */
  readonly knownAt?: number;
  /** Event times of the rows, ms: from, and before. */
  readonly from?: number;
  readonly until?: number;
  /** Each question is an event that counts itself. */
  readonly counted?: true;
  /** Before the features' names in the file. */
  readonly prefix: string;
  readonly threads: number;
}

/** What a set was made of, and how many rows it has. */
interface Written {
  readonly rows: number;
  readonly events: number;
  readonly incomplete: number;
}

/** Columns of a file of examples besides its features. */
const EXAMPLE_COLUMNS = [
  "id",
  "time",
  "known_at",
  "label",
  "revision",
  "labelled",
  "vector_accepted_at",
  "label_accepted_at",
];
const PROGRESS_MS = 2_000;

export async function writeDataset(context: Context, name: string, options: DatasetOptions): Promise<Result> {
  const out = await checkedOut(options.out);
  return context.withClients(async (clients) => {
    const line = await lineOf(clients, name);
    const features = sha256Hex(canonicalJson(featurePart(line)));
    const blocks = await clients.archivedBlocks(eventLog(line).topic);
    if (blocks.length === 0) {
      throw new Failure(
        `nothing of line "${name}" is archived yet`,
        "Ingest writes a block every 30 s, and when it stops: try again then.",
      );
    }
    const startedAtMs = context.now();
    const source = replaySource(context, clients, blocks, options.threads);
    try {
      const written =
        options.questions === undefined
          ? await writeExamples(line, features, out, options, clients, source)
          : await writeAnswers(line, options.questions, out, options, clients, source);
      const seconds = (context.now() - startedAtMs) / 1_000;
      return summary(line, features, out, seconds, written);
    } catch (error) {
      throw explained(error, context.stop);
    }
  });
}

async function writeExamples(
  line: LineDefinition,
  features: string,
  out: string,
  { from, until, knownAt, prefix }: DatasetOptions,
  { tables }: Clients,
  source: ReplaySource,
): Promise<Written> {
  if (!isLearning(line)) {
    throw new Failure(
      `line "${line.name}" has no label, and so no examples`,
      "Ask for vectors at times of your own: --questions FILE.parquet.",
    );
  }
  checkNames(line, EXAMPLE_COLUMNS, prefix);
  const { names, examples, events } = await exampleSet(
    line,
    features,
    {
      fromMs: from ?? Number.NEGATIVE_INFINITY,
      untilMs: until ?? Number.POSITIVE_INFINITY,
      acceptedAtMs: knownAt ?? null,
    },
    source,
  );
  const rows = examples.ids.length;
  if (rows === 0) {
    throw new Failure(
      `line "${line.name}" has no example that is asked for`,
      "Labels come after their events: wait for them, or name other times.",
    );
  }
  await tables.write(out, {
    ...exampleColumns(examples),
    ...vectorColumns(names, examples.values, rows, prefix),
  });
  return { rows, events, incomplete: 0 };
}

async function writeAnswers(
  line: LineDefinition,
  file: string,
  out: string,
  { order, knownAt, from, until, counted, prefix }: DatasetOptions,
  { tables }: Clients,
  source: ReplaySource,
): Promise<Written> {
  if (resolve(file) === out)
    throw new Failure(`${file} holds the questions`, "Give another file with --out.");
  const fields = Object.entries(line.streams[line.predict.on]?.fields ?? {});
  const texts = fields.filter(([, { type }]) => type === "text" || type === "category").map(([name]) => name);
  const table = await tables.openTable(file, texts);
  // A field that is a feature itself is the same column.
  const own = new Set(
    line.features.flatMap((one) => (one.kind === "field" && one.field === one.name ? [one.name] : [])),
  );
  const others = table.columns
    .map((column) => column.name)
    .filter((column) => prefix !== "" || !own.has(column));
  checkNames(line, others, prefix);

  const all = await readQuestions(line, table);
  const kept = Uint8Array.from(all.times, (time) =>
    time < (from ?? Number.NEGATIVE_INFINITY) || time >= (until ?? Number.POSITIVE_INFINITY) ? 0 : 1,
  );
  const questions = keptQuestions(all, kept);
  const rows = questions.times.length;
  if (rows === 0) {
    throw new Failure(
      `there is no question in ${file} that is asked for`,
      "Name other times with --from and --until.",
    );
  }
  checkTimes(questions.times, source.blocks);
  const options = { order, knownAtMs: knownAt ?? null, counted: counted ? "read" : "readByKey" } as const;
  const { names, values, events, incomplete } = await trainingSet(line, questions, options, source);
  await table.writeWith(out, kept, vectorColumns(names, values, rows, prefix));
  return { rows, events, incomplete };
}

async function checkedOut(file: string): Promise<string> {
  const out = resolve(file);
  if (!out.endsWith(".parquet")) {
    throw new Failure(`${file} is not called .parquet`, "The file is written as Parquet: name it so.");
  }
  if ((await stat(dirname(out)).catch(() => null))?.isDirectory() !== true) {
    throw new Failure(`there is no folder ${dirname(out)}`, "Make it, or name another one with --out.");
  }
  return out;
}

function replaySource(
  { io, json, now, stop }: Context,
  { archive, tables }: Clients,
  blocks: readonly Block[],
  threads: number,
): ReplaySource {
  let saidAtMs = now();
  const onProgress = (events: number, ofEvents: number): void => {
    if (json || now() - saidAtMs < PROGRESS_MS) return;
    saidAtMs = now();
    io.writeError(`${count(events)} of ${count(ofEvents)} events replayed\n`);
  };
  return { blocks, files: archive.files, scan: tables.scan, threads, onProgress, signal: stop };
}

/** Throws a Failure where a column and a value of the vector have one name; DuckDB does not tell cases apart. */
function checkNames(line: LineDefinition, columns: readonly string[], prefix: string): void {
  const taken = new Set(columns.map((name) => name.toLowerCase()));
  const twice = featureNames(line).find((name) => taken.has(`${prefix}${name}`.toLowerCase()));
  if (twice === undefined) return;
  throw new Failure(
    `the file would have two columns "${prefix}${twice}", one of them a feature`,
    "Put something before the names of the features, for example --prefix feature_.",
  );
}

/** Throws a Failure for questions of times of which the archive knows nothing. */
function checkTimes(times: Float64Array, blocks: readonly Block[]): void {
  const first = blocks.reduce((min, { minTimeMs }) => Math.min(min, minTimeMs), Number.POSITIVE_INFINITY);
  const last = blocks.reduce((max, { maxTimeMs }) => Math.max(max, maxTimeMs), Number.NEGATIVE_INFINITY);
  const outside = times.filter((time) => time < first || time > last);
  if (outside.length === 0) return;
  const iso = (ms: number): string => new Date(ms).toISOString();
  throw new Failure(
    `${count(outside.length)} of ${count(times.length)} questions are out of range, the first one of ${iso(outside[0] as number)}: events are archived from ${iso(first)} to ${iso(last)}`,
    `Leave them out: --from ${iso(first)} --until ${iso(last + 1)}; or wait until later events are archived.`,
  );
}

function keptQuestions({ times, knownAt, fields }: Questions, kept: Uint8Array): Questions {
  const isKept = (_: unknown, row: number): boolean => kept[row] === 1;
  return {
    times: times.filter(isKept),
    knownAt: knownAt?.filter(isKept) ?? null,
    fields: Object.fromEntries(Object.entries(fields).map(([name, values]) => [name, values.filter(isKept)])),
  };
}

function exampleColumns(examples: ExampleColumns): Record<string, WriteColumn> {
  const whole = (values: Float64Array): WriteColumn => ({ kind: "integer", values });
  return {
    id: { kind: "text", values: examples.ids },
    time: whole(examples.times),
    known_at: whole(examples.knownAt),
    label: whole(examples.labels),
    revision: whole(examples.revisions),
    labelled: { kind: "text", values: examples.labelled },
    vector_accepted_at: whole(examples.vectorAcceptedAt),
    label_accepted_at: whole(examples.labelAcceptedAt),
  };
}

/** `values` [rows x names], row-major, as columns. */
function vectorColumns(
  names: readonly string[],
  values: Float64Array,
  rows: number,
  prefix: string,
): Record<string, WriteColumn> {
  const columns = names.map((name, i): [string, WriteColumn] => {
    const column = new Float64Array(rows);
    for (let row = 0; row < rows; row++) column[row] = values[row * names.length + i] as number;
    return [`${prefix}${name}`, { kind: "float64", values: column }];
  });
  return Object.fromEntries(columns);
}

function summary(
  { name }: LineDefinition,
  features: string,
  file: string,
  seconds: number,
  { rows, events, incomplete }: Written,
): Result {
  return {
    json: { line: name, rows, seconds, eventsReplayed: events, incomplete, featureDigest: features, file },
    text: [
      `${count(rows)} rows in ${file}`,
      `${count(events)} events replayed in ${durationText(seconds * 1_000)}; feature definition ${features}`,
      ...(incomplete === 0
        ? []
        : [
            `The windows of ${count(incomplete)} rows reach back to before the archive begins, and lack what was then.`,
          ]),
    ].join("\n"),
  };
}

/** What the user can do something about, as a Failure. */
function explained(error: unknown, stop: AbortSignal): unknown {
  if (stop.aborted)
    return new Failure("stopped before the file was written", "Run it again.", { cause: error });
  if (error instanceof QuestionError) {
    return new Failure(error.message, "Correct these questions, or leave them out.", { cause: error });
  }
  if (error instanceof RangeError) {
    const help = "`npx millrace features dataset --help` says what a file of questions holds.";
    return new Failure(error.message, help, { cause: error });
  }
  return error;
}
