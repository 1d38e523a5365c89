import { ProtocolError, quoted } from "./error.ts";
import { shapeText, type Tensor, type TensorSpec } from "./tensor.ts";

/**
 * Throws a ProtocolError unless the inputs are those that the model takes: each once, none else, of the datatype and the
 * shape. -1 in the shape stands for any dimension from 1. Their order is free.
 */
export function checkAgainst(specs: readonly TensorSpec[], inputs: readonly Tensor[]): void {
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i] as Tensor;
    const spec = specOf(specs, input.name);
    if (spec === undefined) {
      const known = specs.map(({ name }) => quoted(name)).join(", ");
      throw new ProtocolError(`inputs[${i}].name`, `${quoted(input.name)}, expected one of ${known}`);
    }
    if (input.datatype !== spec.datatype) {
      throw new ProtocolError(
        `inputs[${i}].datatype`,
        `${input.datatype} for ${quoted(input.name)}, expected ${spec.datatype}`,
      );
    }
    if (!fits(input.shape, spec.shape)) {
      const what = `${shapeText(input.shape)} for ${quoted(input.name)}, expected ${shapeText(spec.shape)}`;
      const remedy = spec.shape.includes(-1) ? ", where -1 is any number from 1" : "";
      throw new ProtocolError(`inputs[${i}].shape`, `${what}${remedy}`);
    }
    for (let other = 0; other < i; other++) {
      if ((inputs[other] as Tensor).name !== input.name) continue;
      throw new ProtocolError(
        `inputs[${i}].name`,
        `${quoted(input.name)} a second time, expected each input once`,
      );
    }
  }
  // Each input is one of the specs, and none is there twice: as many are all.
  if (inputs.length === specs.length) return;
  const missing = specs.filter((spec) => !inputs.some(({ name }) => name === spec.name));
  const texts = missing.map(
    ({ name, datatype, shape }) => `${quoted(name)} (${datatype} ${shapeText(shape)})`,
  );
  throw new ProtocolError("inputs", `missing ${texts.join(", ")}`);
}

function specOf(specs: readonly TensorSpec[], name: string): TensorSpec | undefined {
  for (const spec of specs) if (spec.name === name) return spec;
  return undefined;
}

function fits(shape: readonly number[], spec: readonly number[]): boolean {
  if (shape.length !== spec.length) return false;
  for (let i = 0; i < spec.length; i++) {
    const dimension = shape[i] as number;
    if (spec[i] === -1 ? dimension < 1 : dimension !== spec[i]) return false;
  }
  return true;
}
