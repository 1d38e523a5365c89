import { randomInt } from "node:crypto";
import {
  type GenerateRequest,
  GenerationError,
  generate,
  generateRequest,
  type Language,
  languageOf,
} from "@millrace/generation";
import {
  type InferRequest,
  NO_PARAMETERS,
  ProtocolError,
  quoted,
  type Tensor,
} from "@millrace/open-inference";
import { type GrpcCall, RpcError } from "@millrace/runtime";
import { type Handle, runInLane, type ServedModel } from "@millrace/serving";
import { choose } from "./choose.ts";
import { asRpcError, outcomeOf } from "./failure.ts";
import { lineNamed, type NodeLine } from "./line.ts";
import type { NodeLoad } from "./node-load.ts";
import { priorityOf } from "./request.ts";
import type { Outcome } from "./statistics.ts";

/** Triton's generate extension: JSON in, JSON out, whole or token by token. */
export interface TextGenerator {
  whole(model: string, version: string, body: unknown, call: GrpcCall): Promise<object>;
  stream(model: string, version: string, body: unknown, call: GrpcCall): AsyncIterable<object>;
}

export interface GeneratePorts {
  readonly lines: ReadonlyMap<string, NodeLine>;
  /** Spends a caller's budget: a text counts as a row. Throws the RpcError that tells when it may try again. */
  readonly spend: (call: GrpcCall, rows: number) => void;
  readonly load: NodeLoad;
  /** Monotonic ms. */
  readonly now: () => number;
}

/** All of a text, or what one token adds to it. */
interface Answer {
  /** The request's, where it has one. */
  readonly id?: string;
  readonly model_name: string;
  readonly model_version: string;
  readonly text_output: string;
  /** null: more comes. */
  readonly finish_reason: "stop" | "length" | null;
  /** A request with it has the same text again. */
  readonly seed: number;
}

/** A text that takes longer is given up. */
const DEADLINE_MS = 60_000;
const SEEDS = 2 ** 47;

/** Each token is a run in the model's lane, so that texts and other requests take turns. */
export function createTextGenerator({ lines, spend, load, now }: GeneratePorts): TextGenerator {
  /** An answer per token; the last one has a reason, unless the caller has gone. */
  async function* answers(
    name: string,
    version: string,
    request: GenerateRequest,
    call: GrpcCall,
  ): AsyncGenerator<Answer, void, undefined> {
    const line = lineNamed(lines, name, "model_name");
    spend(call, 1);
    const startedAt = now();
    const deadlineAt = Math.min(call.deadlineAt ?? Number.POSITIVE_INFINITY, startedAt + DEADLINE_MS);
    line.usedAt = startedAt;
    const asked = inferRequest(name, version, request.id);
    const priority = priorityOf(asked, line);
    const refused = load.enter(priority);
    if (refused !== null) throw refused;
    let handle: Handle;
    try {
      await line.awake(deadlineAt - startedAt);
      ({ handle } = choose(line, asked));
    } catch (error) {
      load.leave();
      throw error;
    }
    const statistics = line.statisticsOf(handle.of.version);
    statistics.inFlight++;
    let isLate = false;
    const expiry = setTimeout(() => {
      isLate = true;
      // A caller that no longer reads does not keep a version that is to go.
      handle.release();
    }, deadlineAt - now());
    let outcome: Outcome = "cancelled";
    try {
      const { prompt, options, id } = request;
      const run = async (inputs: readonly Tensor[]): Promise<readonly Tensor[]> => {
        if (isLate)
          throw new RpcError("deadlineExceeded", "not done in time: ask for fewer tokens (max_tokens)");
        const outputs = await runInLane(handle.lane, {
          inputs,
          rows: 1,
          priority,
          arrivedAt: now(),
          // What has begun is not refused because it may not end in time: each token counts.
          deadlineAt: Number.POSITIVE_INFINITY,
          isCancelled: () => call.isCancelled() || isLate,
        });
        line.recent.offer(inputs, now());
        return outputs;
      };
      const model = { ...languageFor(line, handle.model), run };
      for await (const piece of generate(model, prompt, options, () => call.isCancelled())) {
        if (piece.finishReason !== null) outcome = "answered";
        yield {
          ...(id === "" ? {} : { id }),
          model_name: name,
          model_version: String(handle.of.version),
          text_output: piece.text,
          finish_reason: piece.finishReason,
          seed: options.seed,
        };
      }
    } catch (error) {
      outcome = outcomeOf(asRpcError(error));
      throw error;
    } finally {
      clearTimeout(expiry);
      handle.release();
      load.leave();
      statistics.inFlight--;
      statistics.ended(outcome, now() - startedAt);
      line.requests[outcome]++;
    }
  }

  return {
    whole: async (name, version, body, call) => {
      let text = "";
      for await (const answer of answers(name, version, requestOf(body, false), call)) {
        text += answer.text_output;
        if (answer.finish_reason !== null) return { ...answer, text_output: text };
      }
      throw new RpcError("cancelled", "the caller has gone before the text was done");
    },
    stream: (name, version, body, call) => answers(name, version, requestOf(body, true), call),
  };
}

function requestOf(body: unknown, isStream: boolean): GenerateRequest {
  const request = generateRequest(body, randomInt(SEEDS));
  if (request.stream === null || request.stream === isStream) return request;
  const remedy = isStream ? "post it to generate" : "post it to generate_stream";
  throw new ProtocolError("stream", `${request.stream}, expected ${isStream}: ${remedy}`);
}

/** What says which version answers, and how soon. */
function inferRequest(modelName: string, modelVersion: string, id: string): InferRequest {
  return { modelName, modelVersion, id, parameters: NO_PARAMETERS, inputs: [], outputs: [], raw: false };
}

/** Read once per model: a tokenizer takes its time. */
const languages = new WeakMap<ServedModel, Language>();

function languageFor(line: NodeLine, model: ServedModel): Language {
  const known = languages.get(model);
  if (known !== undefined) return known;
  try {
    const language = languageOf(model.signature, model.signature.metadata ?? new Map());
    languages.set(model, language);
    return language;
  } catch (error) {
    if (!(error instanceof GenerationError)) throw error;
    const message = `line ${quoted(line.name)} serves no model that generates: ${error.message}`;
    throw new RpcError("unimplemented", message);
  }
}
