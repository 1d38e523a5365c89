import type { ModelSignature } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import { InferenceSession, Tensor as NativeTensor, type TensorConstructor } from "onnxruntime-node";
import { availableProviders, type Provider } from "./provider.ts";
import { tensorOf, type Value, valuesOf } from "./value.ts";

/** How onnxruntime runs a model. */
export interface SessionOptions {
  /** Threads that one operator may use; 1 for small models. */
  readonly threads: number;
  /** How far onnxruntime may rewrite the graph; "none" loads fastest. */
  readonly optimisation: "all" | "extended" | "basic" | "none";
  /** Tried in turn. */
  readonly providers: readonly Provider[];
}

/** A model in onnxruntime, on this thread or another. */
export interface Session {
  readonly provider: Provider;
  /** Why the providers before it are not used. */
  readonly providersFailed: readonly string[];
  /** Runs are answered in the order in which they were asked for. The values must not change before it settles. */
  run(values: Readonly<Record<string, Value>>, outputs: readonly string[]): Promise<Record<string, Value>>;
  /** Frees the memory; nothing is running. */
  release(): Promise<void>;
}

/** Loads a model on the calling thread. Throws an Error that says for each provider why it cannot. */
export async function openSession(bytes: Uint8Array, options: SessionOptions): Promise<Session> {
  const failed: string[] = [];
  for (const provider of options.providers) {
    try {
      return sessionOn(provider, failed, await createOn(provider, bytes, options));
    } catch (error) {
      failed.push(`${provider}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(failed.join("; "));
}

/**
 * Runs a model on tensors: inputs by name in any order, the named outputs in that order, all of them without names.
 * Throws an InputRefused, a RangeError for an unknown output, and what `run` throws.
 */
export async function runTensors(
  run: Session["run"],
  signature: Pick<ModelSignature, "inputs" | "outputs">,
  inputs: readonly Tensor[],
  outputs?: readonly string[],
): Promise<Tensor[]> {
  const names = outputNames(signature, outputs);
  const results = await run(valuesOf(signature.inputs, inputs), names);
  return names.map((name) => tensorOf(name, results[name] as Value));
}

/** The names of the outputs that are asked for, all of them without names. Throws a RangeError for an unknown one. */
export function outputNames(
  signature: Pick<ModelSignature, "outputs">,
  asked?: readonly string[],
): readonly string[] {
  const known = signature.outputs.map(({ name }) => name);
  const unknown = asked?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new RangeError(`output "${unknown}" is not one of the model's: ${known.join(", ")}`);
  }
  return asked ?? known;
}

function createOn(provider: Provider, bytes: Uint8Array, options: SessionOptions): Promise<InferenceSession> {
  if (!availableProviders().includes(provider)) {
    throw new Error(`this build of onnxruntime has only ${availableProviders().join(", ")}`);
  }
  return InferenceSession.create(bytes, {
    executionProviders: [provider],
    graphOptimizationLevel: options.optimisation === "none" ? "disabled" : options.optimisation,
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    // Nothing short of the end of the process goes to standard error, past the log: errors are thrown as well.
    logSeverityLevel: 4,
    // Idle threads must not burn the core that the accepting thread needs.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
}

function sessionOn(
  provider: Provider,
  providersFailed: readonly string[],
  session: InferenceSession,
): Session {
  return {
    provider,
    providersFailed,
    async run(values, outputs) {
      const feeds: Record<string, NativeTensor> = {};
      for (const name in values) feeds[name] = toNative(values[name] as Value);
      const results = await session.run(feeds, outputs);
      const answers: Record<string, Value> = {};
      for (const name of outputs) {
        const result = results[name];
        if (result === undefined) throw new Error(`the model gave no output "${name}"`);
        answers[name] = fromNative(result);
      }
      return answers;
    },
    release: () => session.release(),
  };
}

function toNative({ type, data, dims }: Value): NativeTensor {
  if (type !== "float16") return new (NativeTensor as TensorConstructor)(type, data as never, dims);
  // Given as float16 the bits become a Float16Array, which the binding of 1.30 takes for no bytes at all.
  const tensor = new NativeTensor("uint16", data as Uint16Array, dims);
  return Object.assign(tensor, { type });
}

function fromNative({ type, data, dims }: NativeTensor): Value {
  const { buffer, byteOffset, length } = data as Uint16Array;
  return {
    type: type as Value["type"],
    dims: [...dims],
    data: type === "float16" ? new Uint16Array(buffer, byteOffset, length) : (data as Value["data"]),
  };
}
