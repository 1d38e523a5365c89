import type { Api } from "../api.ts";

/**
 * ```
 * SaslAuthenticate v1
 *   request:  auth_bytes bytes
 *   response: error_code int16, error_message nullable string, auth_bytes bytes, session_lifetime_ms int64
 * ```
 */
export const saslAuthenticate: Api<{ readonly authBytes: Uint8Array }, SaslAuthenticate> = {
  key: 36,
  name: "SaslAuthenticate",
  versions: [1],
  flexibleFrom: null,
  encode: (to, { authBytes }) => {
    to.byteArray(authBytes);
  },
  decode: (from) => {
    const errorCode = from.int16();
    const errorMessage = from.nullableString();
    from.byteArray();
    return { errorCode, errorMessage, sessionLifetimeMs: from.int64() };
  },
};

export interface SaslAuthenticate {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  /** The broker ends the connection after this; 0: never. */
  readonly sessionLifetimeMs: number;
}

/** What SASL/PLAIN sends (RFC 4616): no authorization id, user name, password. */
export function plainCredentials(username: string, password: string): Uint8Array {
  return Buffer.from(`\0${username}\0${password}`);
}
