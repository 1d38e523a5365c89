import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type ChannelCredentials, Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  ModelInferRequestSchema,
  type ModelInferResponse,
  ModelInferResponseSchema,
} from "@millrace/contracts";

const PLAINTEXT: ChannelCredentials = credentials.createInsecure();
const INFER = "/inference.GRPCInferenceService/ModelInfer";

/** A request for `rows` rows of a model that takes `x` FP32 [n, 2]; `parameters` as text or number. */
export function rowsOf(
  modelName: string,
  x: number,
  rows = 1,
  parameters: Readonly<Record<string, string | number>> = {},
): Uint8Array {
  const request = create(ModelInferRequestSchema, {
    modelName,
    parameters: Object.fromEntries(
      Object.entries(parameters).map(([name, value]) => [
        name,
        {
          parameterChoice:
            typeof value === "string"
              ? { case: "stringParam" as const, value }
              : { case: "int64Param" as const, value: BigInt(value) },
        },
      ]),
    ),
    inputs: [{ name: "x", datatype: "FP32", shape: [BigInt(rows), 2n] }],
    rawInputContents: [new Uint8Array(new Float32Array(2 * rows).fill(x).buffer)],
  });
  return toBinary(ModelInferRequestSchema, request);
}

/** What one call came to: its answer, or the gRPC status and message. */
export type Called =
  | { readonly ok: true; readonly version: string; readonly y: number; readonly ms: number }
  | { readonly ok: false; readonly code: number; readonly message: string; readonly ms: number };

export interface Caller {
  /** Calls ModelInfer with a message as it is. `deadlineMs` defaults to 10 s. */
  infer(message: Uint8Array, deadlineMs?: number): Promise<Called>;
  /** The same, but goes away after so many ms. */
  abandon(message: Uint8Array, afterMs: number): Promise<Called>;
  close(): void;
}

export function createCaller(port: number, token: string | null = null): Caller {
  const client = new Client(`127.0.0.1:${port}`, PLAINTEXT, {
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 200,
    "grpc.use_local_subchannel_pool": 1,
  });
  const asItIs = (bytes: Buffer): Buffer => bytes;
  const call = (
    message: Uint8Array,
    deadlineMs: number,
    began: (cancel: () => void) => void = () => {},
  ): Promise<Called> =>
    new Promise((resolve) => {
      const metadata = new Metadata();
      if (token !== null) metadata.set("authorization", `Bearer ${token}`);
      const startedAt = performance.now();
      const deadline = Date.now() + deadlineMs;
      const running = client.makeUnaryRequest(
        INFER,
        asItIs,
        asItIs,
        Buffer.from(message),
        metadata,
        { deadline },
        (error, bytes) => {
          const ms = performance.now() - startedAt;
          if (error !== null) return resolve({ ok: false, code: error.code, message: error.details, ms });
          const answer = fromBinary(ModelInferResponseSchema, bytes as Buffer);
          resolve({ ok: true, version: answer.modelVersion, y: firstOf(answer), ms });
        },
      );
      began(() => running.cancel());
    });
  return {
    infer: (message, deadlineMs = 10_000) => call(message, deadlineMs),
    abandon: (message, afterMs) => call(message, 10_000, (cancel) => void setTimeout(cancel, afterMs)),
    close: () => client.close(),
  };
}

function firstOf({ rawOutputContents }: ModelInferResponse): number {
  const bytes = rawOutputContents[0] as Uint8Array;
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
}

/** Calls without a pause until `stop`; tells each call to `seen`. */
export function keepCalling(
  caller: Caller,
  count: number,
  message: () => Uint8Array,
  seen: (called: Called) => void,
): { stop(): Promise<void> } {
  let stopped = false;
  const work = async (): Promise<void> => {
    while (!stopped) seen(await caller.infer(message()));
  };
  const working = Promise.all(Array.from({ length: count }, work));
  return {
    stop: async () => {
      stopped = true;
      await working;
    },
  };
}

/** Calls a line while something happens to it; answers what the calls came to. */
export async function calling(
  port: number,
  message: () => Uint8Array,
  count: number,
  what: (caller: Caller) => Promise<void>,
): Promise<Called[]> {
  const caller = createCaller(port);
  const calls: Called[] = [];
  const load = keepCalling(caller, count, message, (called) => void calls.push(called));
  try {
    await what(caller);
  } finally {
    await load.stop();
    caller.close();
  }
  return calls;
}

export function failedOf(calls: readonly Called[]): Called[] {
  return calls.filter(({ ok }) => !ok);
}
