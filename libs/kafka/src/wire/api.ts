import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";

/** One kind of request and its answer, as https://kafka.apache.org/protocol says. */
export interface Api<Request, Response> {
  readonly key: number;
  readonly name: string;
  /** The versions written here, the preferred one first. The broker must take one of them. */
  readonly versions: readonly number[];
  /** From this version on headers and bodies have tagged fields; null: none of `versions` has. */
  readonly flexibleFrom: number | null;
  encode(to: ByteWriter, request: Request, version: number): void;
  decode(from: ByteReader, version: number): Response;
}

/** A broker that is asked too much says for how long it will not answer the next request. */
export interface Throttled {
  readonly throttleMs: number;
}
