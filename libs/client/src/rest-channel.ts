import { codeOfHttpStatus, MillraceError } from "./error.ts";
import type { BinaryBody } from "./rest-tensors.ts";
import type { Call, ClientOptions } from "./retry.ts";

export interface RestOptions extends ClientOptions {
  /** Of the inference service, for example `http://127.0.0.1:8000`. */
  readonly url: string;
  /** Default: the platform's own. */
  readonly fetch?: typeof fetch;
}

/** Length of a body's JSON part in bytes; binary tensors follow it. */
export const HEADER_LENGTH = "inference-header-content-length";

/** Sends one request: without a body a GET. Answers whatever came; UNAVAILABLE when nothing did. */
export type Exchange = (path: string, body: string | BinaryBody | null, call: Call) => Promise<Response>;

/** Throws a MillraceError when the URL is none of HTTP. */
export function restExchange(options: RestOptions): Exchange {
  const base = baseUrl(options.url);
  // A browser's fetch is not called as a method of another object.
  const send: typeof fetch = options.fetch ?? ((input, init) => fetch(input, init));
  return async (path, body, call) =>
    send(new URL(path, base), {
      signal: call.signal,
      ...(body === null ? { headers: call.headers } : post(body, call.headers)),
    }).catch((cause: unknown) => {
      throw new MillraceError("UNAVAILABLE", `no answer from ${base}`, { cause });
    });
}

/** Path of a model or of one of its versions. */
export function modelPath(model: string, version: number | string = ""): string {
  const path = `v2/models/${encodeURIComponent(model)}`;
  return version === "" ? path : `${path}/versions/${encodeURIComponent(version)}`;
}

/** What is read of a body. Throws UNAVAILABLE where the connection ends within it. */
export async function received<T>(reading: Promise<T>): Promise<T> {
  return reading.catch((cause: unknown) => {
    throw new MillraceError("UNAVAILABLE", "the connection ended within the answer", { cause });
  });
}

/** Answers a response that is a success. Throws a MillraceError of what the server said in any other. */
export async function succeeded(response: Response): Promise<Response> {
  if (response.ok) return response;
  const text = await received(response.text());
  let message = `HTTP status ${response.status}`;
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown };
    if (typeof error === "string") message = error;
  } catch {
    // A proxy's page: its status says enough.
  }
  throw new MillraceError(codeOfHttpStatus(response.status), message, {
    retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
  });
}

function post(body: string | BinaryBody, headers: Call["headers"]): RequestInit {
  if (typeof body === "string") {
    return { method: "POST", body, headers: { ...headers, "content-type": "application/json" } };
  }
  const described = {
    ...headers,
    "content-type": "application/octet-stream",
    [HEADER_LENGTH]: String(body.headerLength),
  };
  return { method: "POST", body: body.bytes, headers: described };
}

/** With a `/` at its end, so that paths are added to it. */
function baseUrl(url: string): URL {
  const base = URL.parse(url.endsWith("/") ? url : `${url}/`);
  if (base !== null && /^https?:$/.test(base.protocol)) return base;
  throw new MillraceError(
    "INVALID_ARGUMENT",
    `url: ${JSON.stringify(url)}, expected one such as http://127.0.0.1:8000`,
  );
}

/** `Retry-After` is seconds or a date (RFC 9110, section 10.2.3). */
function retryAfterMs(text: string | null): number | null {
  if (text === null) return null;
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(ms, 0);
}
