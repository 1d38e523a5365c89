import { ProtocolError, quoted } from "./error.ts";
import type { InferLimits, Parameter, Parameters } from "./infer.ts";
import { FIXED64, VARINT, type WireReader } from "./wire-reader.ts";
import { WireWriter } from "./wire-writer.ts";

/** Fields of InferParameter. */
const BOOL = 1;
const INT64 = 2;
const STRING = 3;
const DOUBLE = 4;
const UINT64 = 5;

const UINT64_MIN = 2n ** 63n;

/** Reads one entry of a `map<string, InferParameter>` field into `parameters`. The last of a key counts. */
export function readParameter(
  reader: WireReader,
  parameters: Map<string, Parameter>,
  field: string,
  limits: InferLimits,
): void {
  let key = "";
  let value: Parameter | null = null;
  const outer = reader.enter(field);
  while (reader.next()) {
    if (reader.field === 1) key = reader.text(field, limits.textBytes);
    else if (reader.field === 2) value = readValue(reader, field, limits) ?? value;
    else reader.skip();
  }
  reader.leave(outer);
  if (value === null) throw new ProtocolError(`${field}[${quoted(key)}]`, "no value of a known kind");
  parameters.set(key, value);
  if (parameters.size <= limits.parameters) return;
  throw new ProtocolError(field, `more than ${limits.parameters} entries, expected at most so many`);
}

function readValue(reader: WireReader, field: string, limits: InferLimits): Parameter | null {
  let value: Parameter | null = null;
  const outer = reader.enter(field);
  while (reader.next()) {
    switch (reader.field) {
      case BOOL:
        reader.varint(field);
        value = (reader.low | reader.high) !== 0;
        break;
      case INT64:
        reader.varint(field);
        value = reader.signedBig();
        break;
      case UINT64:
        reader.varint(field);
        value = BigInt.asUintN(64, reader.signedBig());
        break;
      case STRING:
        value = reader.text(field, limits.textBytes);
        break;
      case DOUBLE: {
        const at = reader.fixed(8, field);
        value = new DataView(reader.bytes.buffer, reader.bytes.byteOffset).getFloat64(at, true);
        break;
      }
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  return value;
}

/** Parameters of a message that are written as they were before. */
const constants = new WeakMap<Parameters, Uint8Array>();
/** Of InferRequest and InferResponse. */
export const PARAMETERS_FIELD = 4;

/** Parameters that go with many messages: their bytes are made once. */
export function constantParameters(entries: Iterable<readonly [string, Parameter]>): Parameters {
  const parameters = new Map(entries);
  const writer = new WireWriter(parameters.size * 128);
  writeParameters(writer, PARAMETERS_FIELD, parameters);
  constants.set(parameters, writer.finish());
  return parameters;
}

/** A bigint from 2^63 is written as uint64, a smaller one as int64. The order of a map means nothing. */
export function writeParameters(writer: WireWriter, field: number, parameters: Parameters): void {
  if (parameters.size === 0) return;
  const constant = field === PARAMETERS_FIELD ? constants.get(parameters) : undefined;
  if (constant !== undefined) return writer.raw(constant);
  for (const [key, value] of parameters) {
    const entry = writer.length;
    writeValue(writer, value);
    writer.delimit(2, entry);
    writer.text(1, key);
    writer.delimit(field, entry);
  }
}

function writeValue(writer: WireWriter, value: Parameter): void {
  if (typeof value === "string") {
    writer.text(STRING, value);
  } else if (typeof value === "number") {
    writer.double(value);
    writer.tag(DOUBLE, FIXED64);
  } else if (typeof value === "boolean") {
    writer.uint32(value ? 1 : 0);
    writer.tag(BOOL, VARINT);
  } else {
    writer.uint64(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
    writer.tag(value < UINT64_MIN ? INT64 : UINT64, VARINT);
  }
}
