import type { Api } from "../api.ts";

/**
 * ```
 * SaslHandshake v1
 *   request:  mechanism string
 *   response: error_code int16, mechanisms [string]
 * ```
 */
export const saslHandshake: Api<{ readonly mechanism: string }, SaslHandshake> = {
  key: 17,
  name: "SaslHandshake",
  versions: [1],
  flexibleFrom: null,
  encode: (to, { mechanism }) => {
    to.string(mechanism);
  },
  decode: (from) => ({ errorCode: from.int16(), mechanisms: from.array(() => from.string()) }),
};

export interface SaslHandshake {
  readonly errorCode: number;
  readonly mechanisms: readonly string[];
}
