import { type CodeName, STATUS_CODES } from "@millrace/runtime";
import { encodeFields } from "./hpack.ts";

/**
 * How a call ends that does not end well; an RpcError is one. What is refused here is no Error: to note where each arose
 * would cost more than all else that is done for the call, and whoever sends nonsense should not be able to ask for it.
 */
export interface Failure {
  readonly code: CodeName;
  readonly message: string;
  /** When it makes sense to try again, in ms from now. */
  readonly retryAfterMs?: number | undefined;
}

const MESSAGE_CHARS_MAX = 2_048;
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** The header blocks of an answer without error. */
export const RESPONSE_HEADERS: Uint8Array = encodeFields([
  [":status", "200"],
  ["content-type", "application/grpc"],
]);
export const OK_TRAILERS: Uint8Array = encodeFields([["grpc-status", "0"]]);

/** The trailers of a call that failed; with `isWhole` they are all that is sent, "Trailers-Only". */
export function errorTrailers(failure: Failure, isWhole: boolean): Uint8Array {
  const { code, message, retryAfterMs } = failure;
  const fields: [string, string][] = [
    ["grpc-status", String(STATUS_CODES[code])],
    ["grpc-message", percentEncode(message.slice(0, MESSAGE_CHARS_MAX))],
  ];
  if (retryAfterMs !== undefined) fields.push(["grpc-retry-pushback-ms", String(Math.ceil(retryAfterMs))]);
  // Asked for by the specification of compression where an encoding is not known, and true of every call.
  if (code === "unimplemented") fields.push(["grpc-accept-encoding", "identity,gzip"]);
  const trailers = encodeFields(fields);
  return isWhole ? Buffer.concat([RESPONSE_HEADERS, trailers]) : trailers;
}

/** The answer to a request that is no gRPC: its header block. */
export function plainHeaders(status: number, bytes: number): Uint8Array {
  return encodeFields([
    [":status", String(status)],
    ["content-type", "text/plain"],
    ["content-length", String(bytes)],
  ]);
}

export function failure(code: CodeName, message: string): Failure {
  return { code, message };
}

/** A `grpc-timeout` in ms; null when it is none. */
export function parseTimeout(text: string): number | null {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  return match === null ? null : Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** Whether a content type is gRPC's: `application/grpc`, or that with a format or parameters. */
export function isGrpcType(contentType: string): boolean {
  if (contentType === "application/grpc") return true;
  return /^application\/grpc[+;]/i.test(contentType);
}

/** UTF-8 with all octets but printable ASCII, and `%`, as `%XX`. */
function percentEncode(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = "";
  for (const octet of Buffer.from(text)) {
    const isPlain = octet >= 0x20 && octet <= 0x7e && octet !== 0x25;
    encoded += isPlain ? String.fromCharCode(octet) : `%${octet.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}
