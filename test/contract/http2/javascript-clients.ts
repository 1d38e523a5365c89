import { create, createFileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, file_google_protobuf_wrappers } from "@bufbuild/protobuf/wkt";
import { type ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

/** What came of one call of each kind, the same from all clients. Statuses are numbers of gRPC. */
export interface Outcome {
  readonly unary: string;
  readonly error: readonly [code: number, message: string];
  readonly deadline: number;
  readonly cancelled: number;
  readonly large: number;
  readonly chat: readonly string[];
}

const LARGE_BYTES = 5_000_000;
const SERVICE = "millrace.test.v1.Echo";

/** The calls by grpc-js, which knows only bytes. */
export async function grpcJs(port: number): Promise<Outcome> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": 16 * 1024 * 1024,
  });
  const asItIs = (bytes: Buffer): Buffer => bytes;
  const unary = (
    method: string,
    bytes: Uint8Array,
    timeoutMs = 30_000,
    onStart = (_: { cancel(): void }) => {},
  ) =>
    new Promise<Buffer>((resolve, reject) => {
      const call = client.makeUnaryRequest(
        `/${SERVICE}/${method}`,
        asItIs,
        asItIs,
        Buffer.from(bytes),
        new Metadata(),
        { deadline: Date.now() + timeoutMs },
        (error, answer) => (error === null ? resolve(answer as Buffer) : reject(error)),
      );
      onStart(call);
    });
  const chat = await new Promise<string[]>((resolve, reject) => {
    const call = client.makeBidiStreamRequest(`/${SERVICE}/Chat`, asItIs, asItIs);
    const answers: string[] = [];
    call.on("data", (answer: Buffer) => void answers.push(answer.toString()));
    call.on("error", reject);
    call.on("end", () => resolve(answers));
    for (const text of ["a", "b", "c"]) call.write(Buffer.from(text));
    call.end();
  });
  const failure = await errorOf<ServiceError>(unary("Fail", Buffer.alloc(0)));
  const late = await errorOf<ServiceError>(unary("Hold", Buffer.alloc(0), 50));
  const cancelled = await errorOf<ServiceError>(
    unary("Hold", Buffer.alloc(0), 30_000, (call) => void setTimeout(() => call.cancel(), 50)),
  );
  const outcome: Outcome = {
    unary: (await unary("Unary", Buffer.from("hello"))).toString(),
    error: [failure.code, failure.details],
    deadline: late.code,
    cancelled: cancelled.code,
    large: (await unary("Unary", Buffer.alloc(LARGE_BYTES))).length,
    chat,
  };
  client.close();
  return outcome;
}

interface Value {
  readonly value: Uint8Array;
}
type Unary = (request: Value, options?: { timeoutMs?: number; signal?: AbortSignal }) => Promise<Value>;
interface ConnectEcho {
  readonly unary: Unary;
  readonly fail: Unary;
  readonly hold: Unary;
  readonly chat: (requests: AsyncIterable<Value>) => AsyncIterable<Value>;
}

/** The calls by connect-es, which wants types: its messages are those of echo.proto. */
export async function connectEs(port: number): Promise<Outcome> {
  const types = { inputType: ".google.protobuf.BytesValue", outputType: ".google.protobuf.BytesValue" };
  const file = create(FileDescriptorProtoSchema, {
    name: "echo.proto",
    package: "millrace.test.v1",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto"],
    service: [
      {
        name: "Echo",
        method: [
          ...["Unary", "Fail", "Hold"].map((name) => ({ name, ...types })),
          { name: "Chat", ...types, clientStreaming: true, serverStreaming: true },
        ],
      },
    ],
  });
  const service = createFileRegistry(file, () => file_google_protobuf_wrappers).getService(SERVICE);
  if (service === undefined) throw new Error(`${SERVICE} is not described`);
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const client = createClient(service, transport) as unknown as ConnectEcho;
  const nothing = { value: new Uint8Array(0) };
  const failure = await errorOf<ConnectError>(client.fail(nothing));
  const late = await errorOf<ConnectError>(client.hold(nothing, { timeoutMs: 50 }));
  const cancelled = await errorOf<ConnectError>(client.hold(nothing, { signal: AbortSignal.timeout(50) }));
  const chat: string[] = [];
  const requests = async function* (): AsyncGenerator<Value> {
    for (const text of ["a", "b", "c"]) yield { value: Buffer.from(text) };
  };
  for await (const answer of client.chat(requests())) chat.push(Buffer.from(answer.value).toString());
  return {
    unary: Buffer.from((await client.unary({ value: Buffer.from("hello") })).value).toString(),
    error: [failure.code, failure.rawMessage],
    deadline: late.code,
    cancelled: cancelled.code,
    large: (await client.unary({ value: new Uint8Array(LARGE_BYTES) })).value.length,
    chat,
  };
}

async function errorOf<E>(call: Promise<unknown>): Promise<E> {
  return call.then(
    () => {
      throw new Error("the call did not fail");
    },
    (error: E) => error,
  );
}
