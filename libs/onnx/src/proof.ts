import type { Tensor, TensorSpec } from "@millrace/open-inference";
import { openSession, runTensors, type Session, type SessionOptions } from "./session.ts";

/** A request and the answer that the model must give to it. */
export interface GoldenRun {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** What a model is proved with. */
export interface ProofTask {
  readonly signature: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] };
  readonly samples: readonly (readonly Tensor[])[];
  readonly golden: readonly GoldenRun[];
  /** How far an answer may be from a golden one, absolutely. */
  readonly tolerance: number;
  readonly options: SessionOptions;
}

/**
 * What failed a proof. "refused": by the inspection or by onnxruntime when it loads; "run": onnxruntime when it runs.
 * "memory" is seen only where the process is watched: where the kernel bounds it, an allocation fails, and what comes
 * of that is "refused", "run" or "crashed" with onnxruntime's own words.
 */
export type ProofFailure =
  | "refused"
  | "run"
  | "golden"
  | "not-finite"
  | "not-repeatable"
  | "crashed"
  | "memory"
  | "time";

export type Proof =
  | { readonly ok: true; readonly outputsForSamples: readonly (readonly Tensor[])[] }
  | { readonly ok: false; readonly failure: ProofFailure; readonly reason: string };

/**
 * Loads the model, compares its golden runs, and runs its samples twice: every number of an answer is finite, and the
 * second answer has the bits of the first. Never rejects; may crash or run without an end, and frees nothing: it
 * belongs in a process of its own.
 */
export async function prove(bytes: Uint8Array, task: ProofTask): Promise<Proof> {
  let session: Session;
  try {
    session = await openSession(bytes, task.options);
  } catch (error) {
    return failed("refused", `onnxruntime cannot load it: ${reasonOf(error)}`);
  }
  const run = (inputs: readonly Tensor[], outputs?: readonly string[]): Promise<Tensor[]> =>
    runTensors(session.run, task.signature, inputs, outputs);
  try {
    for (const [i, { inputs, outputs }] of task.golden.entries()) {
      const names = outputs.map(({ name }) => name);
      const answer = await run(inputs, names);
      const reason = wrongNumber(answer) ?? differenceOf(answer, outputs, task.tolerance);
      if (reason !== null) return failed("golden", `golden run ${i}: ${reason}`);
    }
    const outputsForSamples: Tensor[][] = [];
    for (const [i, inputs] of task.samples.entries()) {
      const [answer, again] = [await run(inputs), await run(inputs)];
      const wrong = wrongNumber(answer);
      if (wrong !== null) return failed("not-finite", `sample ${i}: ${wrong}`);
      if (!answer.every((tensor, at) => isSame(tensor, again[at] as Tensor))) {
        return failed("not-repeatable", `sample ${i}: the same request had two answers`);
      }
      outputsForSamples.push(answer);
    }
    return { ok: true, outputsForSamples };
  } catch (error) {
    return failed("run", reasonOf(error));
  }
}

const failed = (failure: ProofFailure, reason: string): Proof => ({ ok: false, failure, reason });
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Says which answer has a number that is not finite; null when there is none. */
function wrongNumber(answer: readonly Tensor[]): string | null {
  for (const tensor of answer) {
    const wrong = numbersOf(tensor)?.find((number) => !Number.isFinite(number));
    if (wrong !== undefined) return `output "${tensor.name}" has ${wrong}`;
  }
  return null;
}

function differenceOf(
  answer: readonly Tensor[],
  golden: readonly Tensor[],
  tolerance: number,
): string | null {
  for (const [i, expected] of golden.entries()) {
    const actual = answer[i] as Tensor;
    const { name, datatype, shape } = expected;
    if (actual.datatype !== datatype || actual.shape.join() !== shape.join()) {
      return `output "${name}" is ${actual.datatype} [${actual.shape}], not ${datatype} [${shape}]`;
    }
    const [numbers, expectedNumbers] = [numbersOf(actual), numbersOf(expected)];
    if (numbers === null || expectedNumbers === null) {
      if (!isSame(actual, expected)) return `output "${name}" has other values`;
      continue;
    }
    let error = 0;
    for (const [at, number] of numbers.entries()) {
      error = Math.max(error, Math.abs(number - (expectedNumbers[at] as number)));
    }
    if (!(error <= tolerance)) return `output "${name}" is ${error} away, more than ${tolerance}`;
  }
  return null;
}

/** Fractions, whose answers may differ a little; null for whole numbers, truth values and texts, which may not. */
function numbersOf({ datatype, data }: Tensor): Float32Array | Float64Array | Float16Array | null {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  if (datatype !== "FP16" || !(data instanceof Uint16Array)) return null;
  return new Float16Array(data.buffer, data.byteOffset, data.length);
}

function isSame(a: Tensor, b: Tensor): boolean {
  return a.shape.join() === b.shape.join() && bytesOf(a).every((bytes, i) => isEqual(bytes, bytesOf(b)[i]));
}

function bytesOf({ data }: Tensor): readonly Uint8Array[] {
  return ArrayBuffer.isView(data) ? [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)] : data;
}

function isEqual(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}
