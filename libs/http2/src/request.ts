/** The header fields of a request, as they came: names and values in turn. Nothing is made of them until it is asked for. */
export interface Request {
  readonly method: string;
  readonly path: string;
  /** Empty where there is none. */
  readonly contentType: string;
  readonly encoding: string;
  readonly timeout: string;
  /** -1 where there is none. */
  readonly contentLength: number;
  readonly fields: readonly string[];
}

const CONTENT_LENGTH = /^\d{1,15}$/;

/** Reads the fields of a request; null when it is malformed (RFC 9113 sections 8.2.2 and 8.3). */
export function readRequest(fields: readonly string[]): Request | null {
  let method = "";
  let path = "";
  let scheme = "";
  let authority: string | null = null;
  let contentType = "";
  let encoding = "";
  let timeout = "";
  let contentLength = -1;
  let i = 0;
  for (; i < fields.length && (fields[i] as string).startsWith(":"); i += 2) {
    const value = fields[i + 1] as string;
    switch (fields[i]) {
      case ":method":
        if (method !== "") return null;
        method = value;
        break;
      case ":path":
        if (path !== "") return null;
        path = value;
        break;
      case ":scheme":
        if (scheme !== "") return null;
        scheme = value;
        break;
      case ":authority":
        if (authority !== null) return null;
        authority = value;
        break;
      default:
        return null;
    }
  }
  if (method === "" || path === "" || scheme === "") return null;
  for (; i < fields.length; i += 2) {
    const value = fields[i + 1] as string;
    switch (fields[i]) {
      case "content-type":
        contentType = value;
        break;
      case "grpc-encoding":
        encoding = value;
        break;
      case "grpc-timeout":
        timeout = value;
        break;
      case "te":
        if (value !== "trailers") return null;
        break;
      case "content-length":
        if (!CONTENT_LENGTH.test(value) || contentLength >= 0) return null;
        contentLength = Number(value);
        break;
      case "connection":
      case "keep-alive":
      case "proxy-connection":
      case "transfer-encoding":
      case "upgrade":
        return null;
      default:
        if ((fields[i] as string).startsWith(":")) return null;
    }
  }
  return { method, path, contentType, encoding, timeout, contentLength, fields };
}

/** Whether fields may stand behind a body: no pseudo-header is among them (RFC 9113 section 8.1). */
export function areTrailers(fields: readonly string[]): boolean {
  return fields.every((field, i) => i % 2 === 1 || !field.startsWith(":"));
}

/** The first value of a field; its name in lower case. */
export function fieldValue(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}
