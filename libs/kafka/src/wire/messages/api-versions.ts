import type { Api } from "../api.ts";

/**
 * ```
 * ApiVersions v0
 *   request:
 *   response: error_code int16, [api_key int16, min_version int16, max_version int16]
 * ```
 */
export const apiVersions: Api<null, ApiVersions> = {
  key: 18,
  name: "ApiVersions",
  versions: [0],
  flexibleFrom: null,
  encode: () => {},
  decode: (from) => ({
    errorCode: from.int16(),
    apis: from.array(() => ({ key: from.int16(), min: from.int16(), max: from.int16() })),
  }),
};

export interface ApiVersions {
  readonly errorCode: number;
  readonly apis: readonly { readonly key: number; readonly min: number; readonly max: number }[];
}
