import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type ChannelCredentials, Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { codeOfNumber, MillraceError } from "./error.ts";
import { type Call, type CallOptions, type CallPolicy, runCall } from "./retry.ts";

/** How a server proves itself, and this client to it, in PEM. Without `ca` the platform's authorities are trusted. */
export interface Tls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Calls a unary method, and again where that helps. Throws a MillraceError. */
export type Unary = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/** A connection to one service; it connects when it is first used, and again by itself. */
export interface Channel {
  readonly unary: Unary;
  /** The same with the messages' bytes. */
  bytes(method: DescMethodUnary, request: Uint8Array, options: CallOptions): Promise<Uint8Array>;
  close(): void;
}

const PUSHBACK = "grpc-retry-pushback-ms";

/** `address`: `host:port`. `tls: null`: plaintext. */
export function openChannel(address: string, tls: Tls | null, policy: CallPolicy): Channel {
  const client = new Client(address, credentialsOf(tls), {
    "grpc.max_receive_message_length": 64 << 20,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    // Calls are made again by one rule whichever way they go: that of retry.ts.
    "grpc.enable_retries": 0,
  });
  const attempt = (
    path: string,
    request: Uint8Array,
    { signal, headers, remainingMs }: Call,
  ): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
      const deadline = Date.now() + remainingMs();
      const cancel = (): void => going.cancel();
      const going = client.makeUnaryRequest(
        path,
        bufferOf,
        bytesOf,
        request,
        metadata,
        { deadline },
        (error, response) => {
          signal.removeEventListener("abort", cancel);
          if (error === null) resolve(response as Uint8Array);
          else reject(fromServiceError(error));
        },
      );
      signal.addEventListener("abort", cancel, { once: true });
    });
  const bytes: Channel["bytes"] = ({ parent, name }, request, call) =>
    runCall((going) => attempt(`/${parent.typeName}/${name}`, request, going), call, policy);
  return {
    bytes,
    unary: async (method, request, call = {}) => {
      const asked = toBinary(method.input, create(method.input, request));
      const answer = await bytes(method, asked, call);
      try {
        return fromBinary(method.output, answer);
      } catch (cause) {
        throw new MillraceError("INTERNAL", `the server's answer is no ${method.output.typeName}`, { cause });
      }
    },
    close: () => client.close(),
  };
}

function credentialsOf(tls: Tls | null): ChannelCredentials {
  if (tls === null) return credentials.createInsecure();
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  return credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

/** A Buffer's slices are Buffers, whose methods are not all those of a Uint8Array: callers get none. */
const bytesOf = ({ buffer, byteOffset, byteLength }: Buffer): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

/** A pushback that is no number means: do not try again (gRPC proposal A6). */
function fromServiceError(error: ServiceError): MillraceError {
  const [pushback] = error.metadata.get(PUSHBACK);
  const retryAfterMs = pushback === undefined ? null : /^\d+$/.test(String(pushback)) ? Number(pushback) : -1;
  return new MillraceError(codeOfNumber(error.code), error.details, { cause: error, retryAfterMs });
}
