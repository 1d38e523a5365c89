import { fromBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { Attributes, tensorValues } from "./attributes.ts";
import type { Ensemble } from "./ensemble.ts";
import { type Arithmetic, arithmetic, type Step } from "./steps.ts";
import { readTreeOperator } from "./tree-operators.ts";
import { Unsupported } from "./unsupported.ts";

/** A model that is one tree ensemble with some arithmetic behind it. */
export interface TreeModel {
  readonly features: number;
  readonly ensemble: Ensemble;
  readonly steps: readonly Step[];
}

/** The value that goes through the graph: FP32 [rows, width], or [rows] when `isFlat`. */
interface Flow {
  readonly name: string;
  readonly width: number;
  readonly isFlat: boolean;
}

interface Constant {
  readonly dims: readonly number[];
  readonly values: readonly number[];
}

const { FLOAT } = onnx.TensorProto_DataType;

/**
 * Reads a model whose graph is a tree operator on the input and then a chain of simple operators up to the one output.
 * Throws Unsupported for any other.
 */
export function readTreeModel(bytes: Uint8Array): TreeModel {
  const graph = decode(bytes);
  const constants = new Map<string, Constant>();
  for (const tensor of graph.initializer) {
    const { name } = tensor;
    if (isSmall(tensor)) constants.set(name, constantOf(tensor, `initializer ${name}`));
  }
  const defaults = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input.filter(({ name }) => !defaults.has(name));
  const [input] = inputs;
  const shape = input === undefined ? null : floatShape(input);
  const features = shape?.[1];
  if (input === undefined || inputs.length > 1 || shape?.length !== 2 || typeof features !== "number") {
    throw new Unsupported("the input is not one FP32 [rows, features] with a fixed number of features");
  }

  let ensemble: Ensemble | null = null;
  const steps: Step[] = [];
  let flow: Flow = { name: input.name, width: features, isFlat: false };
  for (const node of graph.node) {
    if (node.opType === "Constant") {
      const tensor = node.attribute.find(({ name }) => name === "value")?.t;
      if (tensor === undefined) throw new Unsupported("a Constant that is not a tensor");
      constants.set(node.output[0] as string, constantOf(tensor, "a Constant"));
    } else if (ensemble === null) {
      const operator = node.domain === "ai.onnx.ml" ? readTreeOperator(node, features) : null;
      if (operator === null) throw new Unsupported(`operator ${node.opType} before the trees`);
      if (node.input[0] !== input.name) throw new Unsupported(`${node.opType} does not read the input`);
      ensemble = operator.ensemble;
      steps.push(...operator.steps);
      const width = steps.at(-1)?.width ?? ensemble.targets;
      flow = { name: node.output[operator.output] ?? "", width, isFlat: false };
    } else {
      const next = readOperator(node, flow, constants);
      if (next.step !== null) steps.push(next.step);
      flow = { ...next.flow, name: node.output[0] as string };
    }
  }
  if (ensemble === null) throw new Unsupported("there is no tree operator");
  const [output] = graph.output;
  if (
    output === undefined ||
    graph.output.length > 1 ||
    output.name !== flow.name ||
    floatShape(output) === null
  ) {
    throw new Unsupported("the output is not one FP32 tensor, that of the last operator");
  }
  return { features, ensemble, steps };
}

interface Next {
  readonly flow: Omit<Flow, "name">;
  /** Null where only the shape changes. */
  readonly step: Step | null;
}

/** What an operator makes of the value that goes through the graph. */
function readOperator(node: onnx.NodeProto, flow: Flow, constants: ReadonlyMap<string, Constant>): Next {
  const { width, isFlat } = flow;
  const fail = (why: string): Unsupported => new Unsupported(`operator ${node.opType} ${why}`);
  if (node.domain !== "" && node.domain !== "ai.onnx") throw fail(`of ${node.domain}`);
  const at = node.input.indexOf(flow.name);
  const others = node.input.filter((_, i) => i !== at).map((name) => constants.get(name));
  if (at === -1 || others.includes(undefined))
    throw fail("reads more than the trees' value and small constants");
  const [other] = others as Constant[];
  const attributes = new Attributes(node);
  const isAxis1 = (axis: number): boolean => axis === 1 || axis === -1;

  switch (node.opType) {
    case "Identity":
      return { flow, step: null };
    case "Cast":
      if (attributes.int("to", 0) !== FLOAT) throw fail("to another type than FLOAT");
      return { flow, step: null };
    case "Sigmoid":
      return { flow, step: { kind: "sigmoid", width } };
    case "Softmax":
      if (isFlat || !isAxis1(attributes.int("axis", -1))) throw fail("over rows");
      return { flow, step: { kind: "softmax", width } };
    case "Add":
    case "Sub":
    case "Mul": {
      if (other === undefined) throw fail("of two values that depend on the row");
      const values = perColumn(other, flow);
      if (values === null) throw fail(`with a constant of shape [${other.dims.join(", ")}]`);
      return { flow, step: arithmetic(arithmeticOf(node.opType, at), values) };
    }
    case "Squeeze": {
      const axes = other?.values ?? attributes.ints("axes");
      if (isFlat || width !== 1 || axes.length !== 1 || !isAxis1(axes[0] as number))
        throw fail("of other axes than 1");
      return { flow: { width, isFlat: true }, step: null };
    }
    case "Reshape": {
      const shape = other?.values ?? [];
      if (shape.length === 1 && shape[0] === -1 && width === 1)
        return { flow: { width, isFlat: true }, step: null };
      if (shape.length === 2 && shape[0] === -1 && shape[1] === width) {
        return { flow: { width, isFlat: false }, step: null };
      }
      throw fail(`of [rows, ${width}] to [${shape.join(", ")}]`);
    }
    case "Gather": {
      if (
        at !== 0 ||
        isFlat ||
        !isAxis1(attributes.int("axis", 0)) ||
        other === undefined ||
        other.dims.length > 1
      ) {
        throw fail("of other things than columns");
      }
      const columns = other.values.map((column) => (column < 0 ? column + width : column));
      if (!columns.every((column) => column >= 0 && column < width)) throw fail(`of columns beyond ${width}`);
      return {
        flow: { width: columns.length, isFlat: other.dims.length === 0 },
        step: { kind: "select", width: columns.length, from: width, columns },
      };
    }
    default:
      throw fail("is not known");
  }
}

/** `at`: which input of the operator is the value that goes through the graph. */
function arithmeticOf(operator: "Add" | "Sub" | "Mul", at: number): Arithmetic {
  if (operator === "Add") return "add";
  if (operator === "Mul") return "multiply";
  return at === 0 ? "subtract" : "subtractFrom";
}

/** A constant as one value per column; null where broadcasting it would change the shape. */
function perColumn({ dims, values }: Constant, { width, isFlat }: Flow): readonly number[] | null {
  if (dims.length > (isFlat ? 1 : 2)) return null;
  if (values.length === 1) return new Array<number>(width).fill(values[0] as number);
  return !isFlat && values.length === width && dims.at(-1) === width ? values : null;
}

function decode(bytes: Uint8Array): onnx.GraphProto {
  let model: onnx.ModelProto;
  try {
    model = fromBinary(onnx.ModelProtoSchema, bytes);
  } catch {
    throw new Unsupported("the bytes are not an ONNX model");
  }
  if (model.graph === undefined) throw new Unsupported("the bytes are not an ONNX model: there is no graph");
  return model.graph;
}

/** Larger constants belong to models that are no ensembles. */
const CONSTANT_MAX = 1024;

function isSmall(tensor: onnx.TensorProto): boolean {
  return tensor.dims.reduce((size, dim) => size * Number(dim), 1) <= CONSTANT_MAX;
}

function constantOf(tensor: onnx.TensorProto, where: string): Constant {
  const dims = tensor.dims.map(Number);
  const values = tensorValues(tensor, where);
  if (values.length !== dims.reduce((size, dim) => size * dim, 1)) {
    throw new Unsupported(`${where} has ${values.length} values for the shape [${dims.join(", ")}]`);
  }
  return { dims, values };
}

/** Sizes of an FP32 tensor, null for a free one; null when the value is not an FP32 tensor with a shape. */
function floatShape(value: onnx.ValueInfoProto): (number | null)[] | null {
  const type = value.type?.value;
  if (type?.case !== "tensorType" || type.value.elemType !== FLOAT) return null;
  return (type.value.shape?.dim ?? []).map(({ value: size }) =>
    size.case === "dimValue" ? Number(size.value) : null,
  );
}
