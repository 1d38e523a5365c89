import { tensorBytes, zeros } from "./raw.ts";
import { elements, type NumericData, shapeText, type Tensor } from "./tensor.ts";

/**
 * One tensor with the rows (first dimension) of all, in their order, copied. They have one name, one datatype and one
 * shape but for the first dimension, of which there is at least one; else it throws, as that is the caller's mistake.
 */
export function concatRows(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors;
  if (first === undefined) throw new Error("no tensors, expected at least one");
  let rows = 0;
  for (const tensor of tensors) {
    if (tensor.datatype !== first.datatype || !hasSameRows(tensor.shape, first.shape)) {
      const what = `${tensor.datatype} ${shapeText(tensor.shape)}`;
      throw new Error(
        `${what} beside ${first.datatype} ${shapeText(first.shape)}, expected rows of one kind`,
      );
    }
    rows += tensor.shape[0] as number;
  }
  const { name, datatype } = first;
  const shape = [rows, ...first.shape.slice(1)];
  if (datatype === "BYTES") {
    return { name, datatype, shape, data: tensors.flatMap(({ data }) => data as readonly Uint8Array[]) };
  }
  const data = zeros(datatype, elements(shape));
  const bytes = tensorBytes({ datatype, data });
  let at = 0;
  for (const tensor of tensors) {
    const part = tensorBytes(tensor);
    bytes.set(part, at);
    at += part.length;
  }
  return { name, datatype, shape, data };
}

/**
 * The reverse of `concatRows`: tensors of `rows[0]`, `rows[1]`, ... rows. Numbers are views of the tensor's memory. Throws
 * unless the rows are as many as the tensor has.
 */
export function splitRows(tensor: Tensor, rows: readonly number[]): Tensor[] {
  const { name, datatype, shape, data } = tensor;
  const total = rows.reduce((sum, count) => sum + count, 0);
  if (shape.length === 0 || total !== shape[0]) {
    throw new Error(`${shapeText(shape)} split into ${total} rows, expected as many as its first dimension`);
  }
  const rest = shape.slice(1);
  const width = elements(rest);
  let at = 0;
  return rows.map((count) => {
    const from = at * width;
    at += count;
    const part =
      datatype === "BYTES" ? data.slice(from, at * width) : (data as NumericData).subarray(from, at * width);
    return { name, datatype, shape: [count, ...rest], data: part };
  });
}

function hasSameRows(a: readonly number[], b: readonly number[]): boolean {
  return a.length > 0 && a.length === b.length && a.every((dimension, i) => i === 0 || dimension === b[i]);
}
