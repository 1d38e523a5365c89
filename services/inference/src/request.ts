import { MODEL_INPUT } from "@millrace/lines";
import {
  checkAgainst,
  type InferRequest,
  ProtocolError,
  quoted,
  type Tensor,
  type TensorSpec,
} from "@millrace/open-inference";
import { type GrpcCall, RpcError } from "@millrace/runtime";
import { type Handle, type Priority, ROWS_MAX } from "@millrace/serving";
import type { NodeLine } from "./line.ts";

/** Parameters of a request that we understand; `priority` and `timeout` (us) are Triton's. */
export const PARAMETER = {
  entity: "entity",
  unit: "unit",
  priority: "priority",
  timeout: "timeout",
} as const;

/** A call without a deadline gets the first, and none a later one than the second. */
const DEADLINE_MS = 10_000;
const DEADLINE_MS_MAX = 60_000;
/** Of an FP32 number (IEEE 754), all bits but the sign; and those of infinity. */
const MAGNITUDE = 0x7f_ff_ff_ff;
const INFINITE = 0x7f_80_00_00;
const PRIORITIES = { high: 0, normal: 1, low: 2 } as const;

/** Monotonic ms at which nobody waits any more. */
export function deadlineOf(request: InferRequest, call: GrpcCall, arrivedAt: number): number {
  const timeout = request.parameters.get(PARAMETER.timeout);
  const own = typeof timeout === "bigint" && timeout > 0n ? arrivedAt + Number(timeout) / 1_000 : Infinity;
  const given = Math.min(own, call.deadlineAt ?? Infinity);
  return Math.min(given === Infinity ? arrivedAt + DEADLINE_MS : given, arrivedAt + DEADLINE_MS_MAX);
}

/** The line's own, unless the request says otherwise as Triton's clients do: 1 first, greater ones later. */
export function priorityOf(request: InferRequest, line: NodeLine): Priority {
  const given = request.parameters.get(PARAMETER.priority);
  const own = PRIORITIES[line.serve.priority];
  if (typeof given !== "bigint" || given <= 0n) return own;
  // Nobody pushes past what the line is worth.
  return Math.max(own, given === 1n ? 0 : given === 2n ? 1 : 2) as Priority;
}

/** The inputs in the signature's order. Throws a ProtocolError where they are not those. */
export function inOrder(specs: readonly TensorSpec[], inputs: readonly Tensor[]): readonly Tensor[] {
  checkAgainst(specs, inputs);
  if (specs.length === 1) return inputs;
  return specs.map(({ name }) => inputs.find((input) => input.name === name) as Tensor);
}

/** The rows of a request to a model that batches; 1 of any other. */
export function rowsOf(inputs: readonly Tensor[], { model }: Handle): number {
  if (!model.signature.batches) return 1;
  const rows = inputs[0]?.shape[0] ?? 0;
  if (rows < 1 || rows > ROWS_MAX) {
    throw new ProtocolError("inputs[0].shape[0]", `${rows} rows, expected 1 to ${ROWS_MAX}`);
  }
  const other = inputs.findIndex(({ shape }) => shape[0] !== rows);
  if (other < 0) return rows;
  const message = `${inputs[other]?.shape[0]} rows, expected ${rows} as in inputs[0]`;
  throw new ProtocolError(`inputs[${other}].shape[0]`, message);
}

/** Features are FP32; what other clients send as numbers of other kinds is converted. */
export function asFeatures(tensor: Tensor): Tensor {
  const { datatype, data } = tensor;
  if (datatype !== "FP64" && datatype !== "INT32" && datatype !== "INT64") return tensor;
  const values = Float32Array.from(data as ArrayLike<number | bigint>, Number);
  return { ...tensor, datatype: "FP32", data: values };
}

/** Throws a ProtocolError for infinite values. */
export function checkFeatures({ data, shape }: Tensor): void {
  const values = data as Float32Array;
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  let infinite = 0;
  while (infinite < bits.length && ((bits[infinite] as number) & MAGNITUDE) !== INFINITE) infinite++;
  if (infinite === bits.length) return;
  const width = shape[1] as number;
  throw new ProtocolError(
    `inputs[0] "${MODEL_INPUT}" at [${Math.floor(infinite / width)}, ${infinite % width}]`,
    "an infinite value, expected a finite one, or NaN when it is not known",
  );
}

/** Throws a ProtocolError for outputs that the model does not give, or that are asked for twice. */
export function checkOutputs({ outputs }: InferRequest, { model }: Handle): void {
  outputs.forEach(({ name }, i) => {
    if (!model.signature.outputs.some((spec) => spec.name === name)) {
      const known = model.signature.outputs.map((spec) => quoted(spec.name)).join(", ");
      throw new ProtocolError(`outputs[${i}].name`, `${quoted(name)}, expected one of ${known}`);
    }
    if (outputs.findIndex((one) => one.name === name) < i) {
      throw new ProtocolError(`outputs[${i}].name`, `${quoted(name)} again, expected each output once`);
    }
  });
}

/** Those of the model's outputs that were asked for, in that order. */
export function selectOutputs(
  request: InferRequest,
  { model }: Handle,
  outputs: readonly Tensor[],
): readonly Tensor[] {
  if (request.outputs.length === 0) return outputs;
  const { outputs: specs } = model.signature;
  return request.outputs.map(({ name }) => outputs[specs.findIndex((spec) => spec.name === name)] as Tensor);
}

/** The entity of a request; undefined: it has none. Throws an RpcError for what is no text. */
export function entityOf({ parameters }: InferRequest): string | undefined {
  const entity = parameters.get(PARAMETER.entity);
  if (entity === undefined || typeof entity === "string") return entity;
  const message = `parameters.${PARAMETER.entity}: ${typeof entity}, expected the key fields as JSON text`;
  throw new RpcError("invalidArgument", message);
}
