import { ProtocolError, quoted } from "@millrace/open-inference";
import type { GenerationOptions } from "./generate.ts";

/** A request of Triton's generate extension. */
export interface GenerateRequest {
  /** "": it has none. */
  readonly id: string;
  readonly prompt: string;
  readonly options: GenerationOptions;
  /** Whether it wants an answer per token; null: it does not say. */
  readonly stream: boolean | null;
}

interface Range {
  readonly least: number;
  readonly most: number;
  readonly isWhole: boolean;
}

const NUMBERS = {
  max_tokens: { least: 1, most: 65_536, isWhole: true },
  temperature: { least: 0, most: 100, isWhole: false },
  top_k: { least: 0, most: 2 ** 31 - 1, isWhole: true },
  top_p: { least: 0, most: 1, isWhole: false },
  repetition_penalty: { least: 0.01, most: 100, isWhole: false },
  seed: { least: 0, most: Number.MAX_SAFE_INTEGER, isWhole: true },
} as const satisfies Record<string, Range>;

const PARAMETERS: readonly string[] = [...Object.keys(NUMBERS), "stop", "stream"];
const FIELDS: readonly string[] = ["text_input", "id", "parameters", ...PARAMETERS];
const ID_MAX = 256;
const STOPS_MAX = 16;
const STOP_MAX = 256;

/**
 * Reads the JSON body of `generate` and `generate_stream`: `text_input`, and parameters under `parameters` or, as
 * Triton's clients also send them, beside it. `seed` is taken where the request names none. Throws a ProtocolError.
 */
export function generateRequest(body: unknown, seed: number): GenerateRequest {
  const fields = record(body, "body");
  const inner = record(fields["parameters"] ?? {}, "parameters");
  checkNames(fields, FIELDS, "");
  checkNames(inner, PARAMETERS, "parameters.");
  const given = (name: string): readonly [value: unknown, field: string] => {
    if (inner[name] === undefined) return [fields[name], name];
    if (fields[name] === undefined) return [inner[name], `parameters.${name}`];
    throw new ProtocolError(name, "stands in the body and in its parameters, expected it in one of them");
  };
  const numberOf = (name: keyof typeof NUMBERS, otherwise: number): number => {
    const [value, field] = given(name);
    return value === undefined ? otherwise : number(value, field, NUMBERS[name]);
  };
  return {
    id: text(fields["id"] ?? "", "id", ID_MAX),
    prompt: text(fields["text_input"], "text_input", Number.POSITIVE_INFINITY),
    options: {
      maxTokens: numberOf("max_tokens", 128),
      temperature: numberOf("temperature", 1),
      topK: numberOf("top_k", 0),
      topP: numberOf("top_p", 1),
      repetitionPenalty: numberOf("repetition_penalty", 1),
      seed: numberOf("seed", seed),
      stop: stopTexts(...given("stop")),
    },
    stream: flag(...given("stream")),
  };
}

function record(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new ProtocolError(field, `${kindOf(value)}, expected a JSON object`);
}

function checkNames(fields: object, known: readonly string[], prefix: string): void {
  for (const name of Object.keys(fields)) {
    if (known.includes(name)) continue;
    throw new ProtocolError(`${prefix}${quoted(name)}`, `unknown, expected one of ${known.join(", ")}`);
  }
}

function number(value: unknown, field: string, { least, most, isWhole }: Range): number {
  const isRight =
    typeof value === "number" && value >= least && value <= most && (!isWhole || Number.isInteger(value));
  if (isRight) return value;
  const came = typeof value === "number" ? value : kindOf(value);
  throw new ProtocolError(
    field,
    `${came}, expected a ${isWhole ? "whole number" : "number"} from ${least} to ${most}`,
  );
}

function text(value: unknown, field: string, unitsMax: number): string {
  if (typeof value !== "string") throw new ProtocolError(field, `${kindOf(value)}, expected a text`);
  if (value.length <= unitsMax) return value;
  throw new ProtocolError(field, `${value.length} characters, expected at most ${unitsMax}`);
}

function flag(value: unknown, field: string): boolean | null {
  if (value === undefined) return null;
  if (typeof value === "boolean") return value;
  throw new ProtocolError(field, `${kindOf(value)}, expected true or false`);
}

function stopTexts(value: unknown, field: string): readonly string[] {
  if (value === undefined) return [];
  if (typeof value === "string") return stopTexts([value], field);
  if (!Array.isArray(value))
    throw new ProtocolError(field, `${kindOf(value)}, expected a text or a list of texts`);
  if (value.length > STOPS_MAX) {
    throw new ProtocolError(field, `${value.length} texts, expected at most ${STOPS_MAX}`);
  }
  return value.map((one: unknown, i) => {
    const stop = text(one, `${field}[${i}]`, STOP_MAX);
    if (stop !== "") return stop;
    throw new ProtocolError(`${field}[${i}]`, "an empty text, expected one character or more");
  });
}

function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value;
}
