/** `models quantise`: a version with int8 weights, and how its answers differ from those of the version it is made of. */
import {
  type FeatureVector,
  lineTopic,
  readVector,
  type registryApi,
  type Verdict,
} from "@millrace/contracts";
import { isServedOnly, type LineDefinition, MODEL_INPUT } from "@millrace/lines";
import {
  INT8_DYNAMIC,
  inspectModel,
  MODEL_LIMITS,
  type ModelSignature,
  type QuantisedModel,
  quantiseModel,
} from "@millrace/onnx-graph";
import type { Broker } from "@millrace/stream";
import { QUANTISED_RECIPE } from "@millrace/versions";
import { type Comparison, compareModels, type RowsRequest } from "../compare-models.ts";
import type { Context } from "../context.ts";
import { errorText, Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import type { Clients } from "../mesh.ts";
import {
  appliedLine,
  promoteVersion,
  registeredJson,
  registeredText,
  registerModel,
  servedOn,
  unjudged,
} from "../register-model.ts";
import { count, decimal, percent, table } from "../text.ts";

export interface QuantiseOptions {
  readonly promote?: true;
  /** How far an answer may be from the original's, absolutely. */
  readonly tolerance: number;
}

/** What a quantised version is registered with. */
export interface QuantisationEvidence extends Verdict {
  readonly quantisation: {
    readonly method: typeof INT8_DYNAMIC;
    /** Weights that are int8 now. */
    readonly tensors: number;
    readonly bytes: { readonly before: number; readonly after: number };
    /** Vectors of the line's topic; or values drawn at random, which are no evidence of what requests will hold. */
    readonly rowsFrom: "recorded" | "made-up";
    readonly tolerance: number;
    /** Each row in a run of its own. */
    readonly alone: Comparison;
    /** 64 rows in a run, where they share a scale; null: the model takes one request at a time. */
    readonly together: Comparison | null;
  };
}

const SHARE_BEYOND_MAX = 0.01;
const ROWS = 5_000;
/** The newest of them also run one by one. */
const ROWS_ALONE = 500;
const ROWS_TOGETHER = 64;
/** How often values are drawn for each made-up request. */
const DRAWS = 16;

/** Quantises a version that passed, compares the two, and registers what came of it, passed or not. */
export async function quantiseVersion(
  context: Context,
  line: string,
  number: number,
  { promote, tolerance }: QuantiseOptions,
): Promise<Result> {
  return context.withClients(async (clients) => {
    const definition = await appliedLine(clients, line);
    const parent = await versionOf(clients, line, number);
    const bytes = await clients.objects.get(parent.artifactDigest, { bytesMax: MODEL_LIMITS.bytes });
    const quantised = quantiseModel(bytes, parent.artifactDigest);
    if ("unsupported" in quantised) {
      throw new Failure(
        `version ${number} of ${line} cannot be quantised: ${quantised.unsupported}`,
        "`libs/onnx-graph` says which models can. Models of trees are compiled instead, without any command.",
      );
    }
    const evidence = await evidenceOf(clients, definition, parent, bytes, quantised, tolerance);
    const { line: of, featureDigest, featureNames, datasetDigest, trainedUntilMs } = parent;
    const version = await registerModel(context, clients, {
      bytes: quantised.model,
      name: `${line}-${number}-${INT8_DYNAMIC}.onnx`,
      made: {
        line: of,
        recipe: QUANTISED_RECIPE,
        parentVersion: parent.version,
        featureDigest,
        featureNames,
        datasetDigest,
        trainedUntilMs,
      },
      evidence,
    });
    // The same bytes may be a version since earlier, with the evidence of that time.
    const registered = JSON.parse(version.evidenceJson) as QuantisationEvidence;
    const generation =
      promote && version.passed
        ? await promoteVersion(clients, version, await servedOn(clients, line), registered.reason)
        : null;
    return {
      json: { ...registeredJson(version, generation), parentVersion: number, evidence: registered },
      text: [registeredText(version, generation), evidenceText(registered)].join("\n"),
      exitCode: version.passed ? 0 : 1,
    };
  });
}

async function versionOf({ registry }: Clients, line: string, number: number): Promise<registryApi.Version> {
  const { versions } = await registry.listVersions({ line });
  const found = versions.find(({ version }) => Number(version) === number);
  const remedy = `\`npx millrace versions ${line}\` lists those that passed.`;
  if (found === undefined) throw new Failure(`${line} has no version ${number}`, remedy);
  if (!found.passed) throw new Failure(`version ${number} of ${line} did not pass its verdict`, remedy);
  return found;
}

async function evidenceOf(
  clients: Clients,
  line: LineDefinition,
  parent: registryApi.Version,
  bytes: Uint8Array,
  { model, tensors }: QuantisedModel,
  tolerance: number,
): Promise<QuantisationEvidence> {
  const rowsFrom = isServedOnly(line) ? "made-up" : "recorded";
  const requests =
    rowsFrom === "made-up" ? madeUp(clients, bytes) : await recorded(clients.broker, line.name, parent);
  const before = await clients.loadModel(bytes, line.serve);
  try {
    const after = await clients.loadModel(model, line.serve);
    try {
      const compare = async (some: readonly RowsRequest[]): Promise<Comparison> => {
        try {
          return await compareModels(before, after, some, tolerance);
        } catch (cause) {
          throw new Failure(
            `version ${parent.version} cannot be compared on ${rowsFrom} rows: ${errorText(cause)}`,
            "A model can be that answers them, and answers numbers.",
            { cause },
          );
        }
      };
      const alone = await compare(requests.alone);
      const together = requests.together.length === 0 ? null : await compare(requests.together);
      const shareBeyond = Math.max(alone.shareBeyond, together?.shareBeyond ?? 0);
      const rows = (together ?? alone).rows;
      const reason =
        `version ${parent.version} with int8 weights: of ${count(rows)} ${rowsFrom} rows, ${percent(shareBeyond)} ` +
        `answer otherwise by more than ${tolerance}; ${percent(SHARE_BEYOND_MAX)} may`;
      const agrees = shareBeyond <= SHARE_BEYOND_MAX;
      return {
        ...unjudged(reason, [
          { gate: "agreement", passed: agrees, value: shareBeyond, bound: SHARE_BEYOND_MAX },
        ]),
        quantisation: {
          method: INT8_DYNAMIC,
          tensors,
          bytes: { before: bytes.length, after: model.length },
          rowsFrom,
          tolerance,
          alone,
          together,
        },
      };
    } finally {
      await after.release();
    }
  } finally {
    await before.release();
  }
}

interface Requests {
  readonly alone: readonly RowsRequest[];
  readonly together: readonly RowsRequest[];
}

/** The newest vectors of the features that the version takes. */
async function recorded(
  broker: Broker,
  line: string,
  { version, featureDigest }: registryApi.Version,
): Promise<Requests> {
  const vectors = await newestVectors(broker, line, featureDigest);
  if (vectors.length === 0) {
    throw new Failure(
      `${lineTopic(line, "features")} holds no vector of the features that version ${version} takes`,
      `Send events of ${line} first: the answers are compared on their vectors.`,
    );
  }
  const request = (some: readonly FeatureVector[]): RowsRequest => {
    const data = Float32Array.from(some.flatMap(({ values }) => values.map((value) => value ?? Number.NaN)));
    const shape = [some.length, data.length / some.length];
    return { inputs: [{ name: MODEL_INPUT, datatype: "FP32", shape, data }], rows: some.length };
  };
  const batches = Array.from({ length: Math.ceil(vectors.length / ROWS_TOGETHER) }, (_, i) =>
    vectors.slice(i * ROWS_TOGETHER, (i + 1) * ROWS_TOGETHER),
  );
  return {
    alone: vectors.slice(-ROWS_ALONE).map((vector) => request([vector])),
    together: batches.map(request),
  };
}

async function newestVectors(broker: Broker, line: string, featureDigest: string): Promise<FeatureVector[]> {
  const topic = lineTopic(line, "features");
  const found: { readonly atMs: number; readonly vector: FeatureVector }[] = [];
  for (const { partition, first, end } of await broker.offsets(topic)) {
    for await (const records of broker.read(topic, partition, Math.max(first, end - ROWS), end)) {
      for (const { timestampMs: atMs, value } of records) {
        const vector = readVector(value);
        if (vector?.features === featureDigest) found.push({ atMs, vector });
      }
    }
  }
  found.sort((a, b) => a.atMs - b.atMs);
  return found.slice(-ROWS).map(({ vector }) => vector);
}

/** What the prover makes up for the signature, with values between -2 and 2 for fractions, as it has only zeros. */
function madeUp({ madeUpRequests }: Clients, bytes: Uint8Array): Requests {
  const { signature } = inspectModel(bytes) as { readonly signature: ModelSignature };
  const drawn = Array.from({ length: DRAWS }, () => madeUpRequests(signature)).flat();
  let draws = 0;
  const requests = drawn.map((inputs): RowsRequest => {
    for (const { data } of inputs) {
      if (!(data instanceof Float32Array || data instanceof Float64Array)) continue;
      for (let i = 0; i < data.length; i++) data[i] = scattered(draws++);
    }
    return { inputs, rows: signature.batches ? (inputs[0]?.shape[0] ?? 1) : 1 };
  });
  return {
    alone: requests.filter(({ rows }) => rows === 1),
    together: requests.filter(({ rows }) => rows > 1),
  };
}

/** Between -2 and 2, always the same and without order: a sine in radians whose first digits are cut off. */
function scattered(i: number): number {
  const digits = Math.sin(i + 1) * 10_000;
  return 4 * (digits - Math.floor(digits)) - 2;
}

function evidenceText({ reason, quantisation }: QuantisationEvidence): string {
  const { tensors, bytes, tolerance, alone, together } = quantisation;
  const row = (name: string, { rows, microsPerRow, ...differ }: Comparison): string[] => [
    name,
    count(rows),
    decimal(differ.meanDifference, 6),
    decimal(differ.maxDifference, 6),
    percent(differ.shareBeyond),
    decimal(microsPerRow.before, 1),
    decimal(microsPerRow.after, 1),
  ];
  return [
    reason,
    `${tensors} weights are int8: ${count(bytes.after)} bytes instead of ${count(bytes.before)}`,
    table(
      ["RUN", "ROWS", "MEAN DIFFERENCE", "LARGEST", `BEYOND ${tolerance}`, "US PER ROW", "INT8"],
      [row("alone", alone), ...(together === null ? [] : [row("together", together)])],
    ),
  ].join("\n");
}
