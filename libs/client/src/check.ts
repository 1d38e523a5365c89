import { ARRAYS, checkShape, ProtocolError, quoted, type Tensor } from "@millrace/open-inference";
import { MillraceError } from "./error.ts";

const KINDS = { ...ARRAYS, BYTES: Array };

/** A caller's whole number from 0, as protobuf has it. Throws INVALID_ARGUMENT for anything else. */
export function wholeNumber(field: string, value: number): bigint {
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw invalid(`${field}: ${value}, expected a whole number from 0`);
}

/** Throws INVALID_ARGUMENT unless a caller's tensor holds the values that its datatype and shape promise. */
export function checkTensor({ name, datatype, shape, data }: Tensor, index: number): void {
  const field = `inputs[${index}] ${quoted(name)}`;
  const array = Object.hasOwn(KINDS, datatype) ? KINDS[datatype] : undefined;
  if (array === undefined) {
    throw invalid(`${field}: datatype ${quoted(datatype)}, expected one of ${Object.keys(KINDS).join(", ")}`);
  }
  if (!(data instanceof array) || (datatype === "BYTES" && !data.every((one) => one instanceof Uint8Array))) {
    const expected = datatype === "BYTES" ? "an array of Uint8Arrays" : `a ${array.name}`;
    throw invalid(`${field}: the data of ${datatype} is another kind, expected ${expected}`);
  }
  const elements = elementsOf(shape, field);
  if (data.length === elements) return;
  throw invalid(`${field}: ${data.length} values, expected ${elements} by the shape [${shape.join(", ")}]`);
}

function elementsOf(shape: readonly number[], field: string): number {
  try {
    return checkShape(shape, `${field}.shape`);
  } catch (cause) {
    if (cause instanceof ProtocolError) throw new MillraceError("INVALID_ARGUMENT", cause.message, { cause });
    throw cause;
  }
}

const invalid = (message: string): MillraceError => new MillraceError("INVALID_ARGUMENT", message);
