import type { CodeName } from "@millrace/rpc";

/** A request cannot be answered, and the caller is told why. Becomes a gRPC status in `wiring.ts`. */
export class Refusal extends Error {
  readonly code: CodeName;
  constructor(code: CodeName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Refusal";
    this.code = code;
  }
}

/** A stranger's text for a message: quoted, without control characters, cut. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
