/** `predict`: what would the champion say of this event now? */
import { MODEL_INPUT } from "@millrace/lines";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import type { Clients } from "../mesh.ts";
import { decimal, table, timeText } from "../text.ts";

interface Vector {
  readonly names: readonly string[];
  /** NaN where not known. */
  readonly values: readonly number[];
  readonly asOfMs: number | null;
}

export interface PredictOptions {
  /** The event as JSON text; `-`: from standard input. */
  readonly event: string | undefined;
  /** The vector as a JSON array, instead of an event. */
  readonly features: string | undefined;
  readonly version: string | undefined;
}

export async function predict(context: Context, line: string, options: PredictOptions): Promise<Result> {
  if ((options.event === undefined) === (options.features === undefined)) {
    throw new Failure(
      "give either an event or --features",
      `For example: millrace predict ${line} '{"flight":"x1",...}', or --features '[8,1,null]'.`,
    );
  }
  const vectorText = options.features === undefined ? null : parseVector(options.features);
  const event = options.event === "-" ? await context.io.readInput() : options.event;
  return context.withClients(async (clients) => {
    const vector =
      vectorText === null
        ? await vectorOf(clients, line, checkedEvent(event ?? ""))
        : await namedVector(clients, line, vectorText);
    const answer = await clients.inference.modelInfer({
      modelName: line,
      modelVersion: options.version ?? "",
      inputs: [
        {
          name: MODEL_INPUT,
          datatype: "FP32",
          shape: [1n, BigInt(vector.values.length)],
          contents: { fp32Contents: [...vector.values] },
        },
      ],
    });
    const score = firstScore(answer);
    const known = vector.values.map((value) => (Number.isNaN(value) ? null : value));
    return {
      json: {
        line,
        version: Number(answer.modelVersion),
        score,
        asOfMs: vector.asOfMs,
        features: Object.fromEntries(vector.names.map((name, i) => [name, known[i] ?? null])),
      },
      text: [
        `score ${decimal(score, 4)}   version ${answer.modelVersion}${vector.asOfMs === null ? "" : `   as of ${timeText(vector.asOfMs)} of the stream`}`,
        table(
          ["FEATURE", "VALUE"],
          vector.names.map((name, i) => [
            name,
            known[i] == null ? "unknown" : String(Number(known[i]?.toPrecision(6))),
          ]),
        ),
      ].join("\n"),
    };
  });
}

function parseVector(text: string): readonly number[] {
  const remedy = "Write a JSON array of numbers, null where a value is not known: --features '[8, 1, null]'.";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Failure("--features is not JSON", remedy, { cause });
  }
  if (!Array.isArray(value) || !value.every((one) => one === null || typeof one === "number")) {
    throw new Failure("--features is not an array of numbers", remedy);
  }
  return (value as (number | null)[]).map((one) => one ?? Number.NaN);
}

function checkedEvent(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch (cause) {
    throw new Failure(
      "the event is not JSON",
      'Quote it for the shell: \'{"field": "value"}\'; or pass - and pipe it in.',
      {
        cause,
      },
    );
  }
}

async function vectorOf(clients: Clients, line: string, eventJson: string): Promise<Vector> {
  const { names, values, asOfMs } = await clients.feature.getVector({ line, eventJson });
  return { names, values, asOfMs: Number(asOfMs) };
}

async function namedVector(clients: Clients, line: string, values: readonly number[]): Promise<Vector> {
  const { sets } = await clients.registry.getAspiredSet({ line });
  const names = sets[0]?.models.find(({ role }) => role === "champion")?.featureNames;
  if (names === undefined) {
    throw new Failure(
      `no model serves line "${line}" yet`,
      `\`npx millrace status ${line}\` shows how far it is.`,
    );
  }
  if (names.length !== values.length) {
    throw new Failure(
      `--features has ${values.length} values, the model takes ${names.length}`,
      `In this order: ${names.join(", ")}.`,
    );
  }
  return { names, values, asOfMs: null };
}

function firstScore(answer: Awaited<ReturnType<Clients["inference"]["modelInfer"]>>): number {
  const raw = answer.rawOutputContents[0];
  if (raw !== undefined) return new DataView(raw.buffer, raw.byteOffset, raw.byteLength).getFloat32(0, true);
  const typed = answer.outputs[0]?.contents?.fp32Contents[0];
  if (typed === undefined)
    throw new Failure("the model answered without a score", "The inference service's log has the cause.");
  return typed;
}
