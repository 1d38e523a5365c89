import { timingSafeEqual } from "node:crypto";
import { RpcError } from "./rpc-error.ts";

/** Who may call: looks at a call's metadata and its path, and answers why not, or null. Asked before a body is read. */
export type Authorise = (metadata: (name: string) => string | undefined, path: string) => RpcError | null;

/** Callers must send `authorization: Bearer TOKEN` with one of the tokens. */
export function bearerTokens(tokens: readonly string[]): Authorise {
  const expected = tokens.map((token) => Buffer.from(`Bearer ${token}`));
  return (metadata) => {
    const given = Buffer.from(metadata("authorization") ?? "");
    const isKnown = expected.some((one) => one.length === given.length && timingSafeEqual(one, given));
    return isKnown ? null : new RpcError("unauthenticated", "send the metadata authorization: Bearer TOKEN");
  };
}

/** PEM texts of a server. With `ca`, who has no certificate that it signed is not let in. */
export interface TlsTexts {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** Everybody may: for ports on loopback. Throws when the host is another one. */
export function openOnLoopback(host: string): Authorise {
  if (!["127.0.0.1", "::1", "localhost"].includes(host)) {
    throw new Error(`refusing to serve without a token on ${host}: listen on 127.0.0.1, or set a token`);
  }
  return () => null;
}
