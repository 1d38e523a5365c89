/** The thread of a model that is loaded with `place: "worker"`; `worker-session.ts` starts it and talks to it. */
import { parentPort, workerData } from "node:worker_threads";
import { openSession, type Session, type SessionOptions } from "./session.ts";
import { buffersOf, type Value } from "./value.ts";

/** What the thread is started with; the bytes are its own. */
export interface WorkerStart {
  readonly bytes: Uint8Array;
  readonly options: SessionOptions;
}

/** A run, or with `null` the end. */
export type WorkerRequest = {
  readonly id: number;
  readonly values: Readonly<Record<string, Value>>;
  readonly outputs: readonly string[];
} | null;

export type WorkerReply =
  | {
      readonly kind: "loaded";
      readonly provider: Session["provider"];
      readonly providersFailed: readonly string[];
    }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "ran"; readonly id: number; readonly values: Record<string, Value> }
  | { readonly kind: "failed"; readonly id: number; readonly reason: string };

const port = parentPort;
if (port === null) throw new Error("worker.ts is the entry of a worker thread");
const reply = (message: WorkerReply, values: readonly Value[] = []): void =>
  port.postMessage(message, buffersOf(values));
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const { bytes, options } = workerData as WorkerStart;
try {
  const session = await openSession(bytes, options);
  port.on("message", (request: WorkerRequest) => {
    if (request === null) {
      // Without the port nothing keeps the thread: it ends by itself, with its memory freed first.
      void session.release().finally(() => port.close());
      return;
    }
    const { id, values, outputs } = request;
    session.run(values, outputs).then(
      (results) => reply({ kind: "ran", id, values: results }, Object.values(results)),
      (error: unknown) => reply({ kind: "failed", id, reason: reasonOf(error) }),
    );
  });
  reply({ kind: "loaded", provider: session.provider, providersFailed: session.providersFailed });
} catch (error) {
  reply({ kind: "refused", reason: reasonOf(error) });
}
