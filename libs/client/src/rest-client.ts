import { indexOf, metadataOf, objectOf, parseJson, statisticsOf, textOf } from "./answer.ts";
import { MillraceError } from "./error.ts";
import { type Generated, type Generation, generateBody, generated } from "./generation.ts";
import { type Infer, inferVia } from "./inference.ts";
import type { Models } from "./models.ts";
import { type Predict, predictVia } from "./predict.ts";
import {
  HEADER_LENGTH,
  modelPath,
  type RestOptions,
  received,
  restExchange,
  succeeded,
} from "./rest-channel.ts";
import { inferBody, inferResponse } from "./rest-tensors.ts";
import { type Call, type CallOptions, callPolicy, openCall, retried, runCall } from "./retry.ts";
import { serverSentEvents } from "./server-sent-events.ts";

/** A client over REST. */
export interface RestClient extends Generation {
  readonly predict: Predict;
  readonly infer: Infer;
  readonly models: Models;
}

/** Statuses by which servers of the protocol say that a model is not there or not loaded. */
const NOT_READY = [400, 404, 503];

/**
 * A client of the inference service over REST, in browsers and wherever there is `fetch`: the Open Inference Protocol v2
 * with Triton's extensions for binary tensors, statistics, the index and generation. Nothing is sent before the first
 * call. Throws a MillraceError when an option is wrong.
 */
export function createClient(options: RestOptions): RestClient {
  const policy = callPolicy(options);
  const exchange = restExchange(options);

  const run = <T>(attempt: (call: Call) => Promise<T>, call: CallOptions): Promise<T> =>
    runCall(attempt, call, policy);
  const json = async (path: string, body: string | null, call: Call): Promise<unknown> =>
    parseJson(await received((await succeeded(await exchange(path, body, call))).text()));

  const infer = inferVia((request, options) =>
    run(async (call) => {
      // REST has no deadline of its own: Triton's parameter carries it, in microseconds.
      const timeout = BigInt(Math.ceil(call.remainingMs() * 1000));
      const parameters = new Map([["timeout", timeout], ...request.parameters]);
      const path = `${modelPath(request.modelName, request.modelVersion)}/infer`;
      const response = await succeeded(await exchange(path, inferBody({ ...request, parameters }), call));
      const bytes = new Uint8Array(await received(response.arrayBuffer()));
      return inferResponse(bytes, response.headers.get(HEADER_LENGTH));
    }, options),
  );

  return {
    infer,
    predict: predictVia(infer),
    models: {
      metadata: (model, options = {}) =>
        run(async (call) => metadataOf(await json(modelPath(model, options.version), null, call)), options),
      ready: (model, options = {}) =>
        run(async (call) => {
          const response = await exchange(`${modelPath(model, options.version)}/ready`, null, call);
          if (!NOT_READY.includes(response.status)) await succeeded(response);
          await response.body?.cancel();
          return response.ok;
        }, options),
      index: (options = {}) =>
        run(async (call) => indexOf(await json("v2/repository/index", "{}", call)), options),
      statistics: (model, options = {}) =>
        run(
          async (call) => statisticsOf(await json(`${modelPath(model, options.version)}/stats`, null, call)),
          options,
        ),
    },
    generate: (model, prompt, options = {}) =>
      run(async (call) => {
        const path = `${modelPath(model, options.version)}/generate`;
        return generated(objectOf(await json(path, generateBody(prompt, options), call)));
      }, options),
    generateStream: async function* (model, prompt, options = {}): AsyncGenerator<Generated, void, void> {
      const call = openCall(options, policy);
      try {
        const path = `${modelPath(model, options.version)}/generate_stream`;
        const body = generateBody(prompt, options);
        const { body: events } = await retried(
          async () => succeeded(await exchange(path, body, call)),
          call,
          policy,
        );
        if (events === null) return;
        for await (const data of serverSentEvents(events)) {
          const answer = objectOf(parseJson(data));
          const { error } = answer;
          if (error !== undefined) throw new MillraceError("INTERNAL", textOf(error));
          yield generated(answer);
        }
      } catch (error) {
        call.signal.throwIfAborted();
        throw error;
      } finally {
        call.close();
      }
    },
  };
}
