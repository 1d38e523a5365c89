/** `explain`: what a prediction rests on, and the same answer once more. */
import {
  HEADERS,
  lineTopic,
  type Prediction,
  parsePosition,
  readVector,
  type registryApi,
} from "@millrace/contracts";
import { MODEL_LIMITS } from "@millrace/onnx-graph";
import { type Broker, headerText, type StreamRecord } from "@millrace/stream";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import type { Clients } from "../mesh.ts";
import { appliedLine } from "../register-model.ts";
import { shortDigest, table, timeText } from "../text.ts";

/** Records looked through at once, from the newest backwards. */
const SPAN = 20_000;
/** In a run with others a row's last bits may differ: these are the sizes tried. */
const RUN_ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

interface Found {
  readonly prediction: Prediction;
  readonly record: StreamRecord;
}

/** What came of computing an answer once more. */
interface Recomputed {
  readonly score: number;
  /** Whether it has the bits of the answer that was given. */
  readonly same: boolean;
  /** Rows of the run that gave it. */
  readonly rows: number;
}

/** Finds a prediction by the id of its event or call, recomputes it, and shows what was live then. */
export async function explain(context: Context, line: string, id: string): Promise<Result> {
  return context.withClients(async (clients) => {
    const found = await findPrediction(clients.broker, line, id);
    const { prediction } = found;
    const values = await valuesOf(clients.broker, line, found);
    const { versions } = await clients.registry.listVersions({ line });
    const version = versions.find((one) => Number(one.version) === prediction.version);
    if (version === undefined || version.artifactDigest !== prediction.model) {
      throw new Failure(
        `the registry knows version ${prediction.version} of ${line} as ${shortDigest(version?.artifactDigest ?? "none")}, the prediction names ${shortDigest(prediction.model)}`,
        "The registry was set up anew since: the artifact may still be in the object store under its digest.",
      );
    }
    const recomputed = await recompute(clients, line, prediction, values);
    const live = await liveAt(clients, line, prediction.predictedAtMs);
    return { ...present(line, found, values, version, recomputed, live), exitCode: recomputed.same ? 0 : 1 };
  });
}

async function findPrediction(broker: Broker, line: string, id: string): Promise<Found> {
  const topic = lineTopic(line, "predictions");
  for (const { partition, first, end } of await broker.offsets(topic)) {
    for (let until = end; until > first; until -= SPAN) {
      let newest: Found | null = null;
      for await (const records of broker.read(topic, partition, Math.max(first, until - SPAN), until)) {
        for (const record of records) {
          if (record.key === null || Buffer.from(record.key).toString("utf8") !== id) continue;
          newest = { record, prediction: JSON.parse(text(record)) as Prediction };
        }
      }
      if (newest !== null) return newest;
    }
  }
  throw new Failure(
    `${topic} holds no prediction ${id}`,
    "It is kept for 7 days. Of an event it has the event's id; of a call the id that the caller sent, with #ROW where it had several rows.",
  );
}

/** The values that were scored: with the prediction, or in the feature vector that it came from. */
async function valuesOf(
  broker: Broker,
  line: string,
  { prediction, record }: Found,
): Promise<readonly (number | null)[]> {
  if (prediction.values !== undefined) return prediction.values;
  const source = parsePosition(headerText(record, HEADERS.source) ?? "");
  if (source !== null) {
    const { topic, partition, offset } = source;
    for await (const records of broker.read(topic, partition, offset, offset + 1)) {
      const vector = records[0] === undefined ? null : readVector(records[0].value);
      if (vector !== null) return vector.values;
    }
  }
  throw new Failure(
    `the feature vector of ${prediction.id} is gone from ${lineTopic(line, "features")}`,
    `Compute it again: millrace features verify ${line} --all.`,
  );
}

async function recompute(
  clients: Clients,
  line: string,
  { model: digest, score }: Prediction,
  values: readonly (number | null)[],
): Promise<Recomputed> {
  const { serve } = await appliedLine(clients, line);
  const bytes = await clients.objects.get(digest, { bytesMax: MODEL_LIMITS.bytes });
  const model = await clients.loadModel(bytes, serve);
  try {
    const row = Float32Array.from(values, (value) => value ?? Number.NaN);
    let alone: Recomputed | null = null;
    for (const rows of RUN_ROWS) {
      const matrix = new Float32Array(rows * row.length);
      for (let i = 0; i < rows; i++) matrix.set(row, i * row.length);
      const [again = Number.NaN] = await model.score(matrix, rows);
      const result = { score: again, same: Object.is(Math.fround(score), again), rows };
      if (result.same) return result;
      alone ??= result;
    }
    return alone as Recomputed;
  } finally {
    await model.release();
  }
}

async function liveAt(clients: Clients, line: string, atMs: number): Promise<registryApi.AspiredSet | null> {
  const { sets } = await clients.registry.getHistory({ line, atMs: BigInt(atMs) });
  return sets[0] ?? null;
}

function present(
  line: string,
  { prediction, record }: Found,
  values: readonly (number | null)[],
  version: registryApi.Version,
  recomputed: Recomputed,
  live: registryApi.AspiredSet | null,
): Result {
  const liveModels = (live?.models ?? []).map(({ role, version: number }) => ({
    role,
    version: Number(number),
  }));
  const named = version.featureNames.map((name, i) => [name, values[i] ?? null] as const);
  const facts: [string, string][] = [
    [
      "prediction",
      `${prediction.id} (${lineTopic(line, "predictions")}/${record.partition}/${record.offset})`,
    ],
    [
      "made",
      `${timeText(prediction.predictedAtMs, true)} for ${prediction.origin === "call" ? "a direct call" : "the stream"}`,
    ],
    ["score", String(prediction.score)],
    [
      "computed again",
      recomputed.same ? `${recomputed.score}: the same bits` : `${recomputed.score}: NOT the same`,
    ],
    [
      "version",
      `${prediction.version} (${version.recipe}), as ${prediction.arm ?? "champion"}, chosen with probability ${prediction.propensity ?? 1}`,
    ],
    ["model", prediction.model],
    ["features", prediction.features],
    ["dataset", version.datasetDigest || "none"],
    ["training run", version.runId || "none"],
    ["signed", version.signature === "" ? "no" : "yes"],
    ["trace", prediction.trace ?? "none"],
    [
      "others said",
      Object.entries(prediction.shadows)
        .map(([number, score]) => `${number}: ${score}`)
        .join(", ") || "nothing",
    ],
    [
      "live then",
      live === null
        ? "not known"
        : `generation ${live.generation} since ${timeText(Number(live.changedAtMs), true)} (${live.change}: ${live.reason}): ${liveModels.map(({ role, version: number }) => `${role} ${number}`).join(", ")}`,
    ],
  ];
  return {
    json: {
      line,
      prediction,
      position: { partition: record.partition, offset: record.offset },
      values: Object.fromEntries(named),
      recomputed,
      version: {
        version: Number(version.version),
        recipe: version.recipe,
        datasetDigest: version.datasetDigest,
        runId: version.runId,
        signed: version.signature !== "",
      },
      live: live && {
        generation: Number(live.generation),
        changedAtMs: Number(live.changedAtMs),
        change: live.change,
        reason: live.reason,
        models: liveModels,
      },
    },
    text: [
      ...facts.map(([name, fact]) => `${name.padEnd(15)} ${fact}`),
      table(
        ["FEATURE", "VALUE"],
        named.map(([name, value]) => [name, value === null ? "unknown" : String(value)]),
      ),
    ].join("\n"),
  };
}

function text(record: StreamRecord): string {
  return Buffer.from(record.value ?? []).toString("utf8");
}
