/** The thread that inspects and compiles models; `background.ts` starts it and talks to it. */
import { readlinkSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { basename } from "node:path";
import { parentPort } from "node:worker_threads";
import type { Tensor } from "@millrace/open-inference";
import { checkModel, ModelRefused } from "./check-model.ts";
import { compileModel, type Outcome } from "./compile.ts";
import type { SessionOptions } from "./session.ts";

/** A model to inspect, and to compile where `compile` says how. The bytes are the thread's own. `null` is the end. */
export interface BackgroundRequest {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly compile: {
    readonly options: SessionOptions;
    readonly samples: readonly (readonly Tensor[])[];
  } | null;
}

export interface BackgroundReply {
  readonly id: number;
  readonly outcome: Outcome;
}

const port = parentPort;
if (port === null) throw new Error("background-worker.ts is the entry of a worker thread");
lowerPriority();
port.on("message", (request: BackgroundRequest | null) => {
  // Without the port nothing keeps the thread.
  if (request === null) return port.close();
  void outcomeOf(request).then((outcome) => {
    const moved = "image" in outcome ? [outcome.image.kernel.buffer, outcome.image.tables.buffer] : [];
    port.postMessage({ id: request.id, outcome } satisfies BackgroundReply, moved);
  });
});

async function outcomeOf({ bytes, compile }: BackgroundRequest): Promise<Outcome> {
  try {
    const signature = checkModel(bytes);
    if (compile === null) return { signature, notCompiled: "nobody asked for it" };
    return await compileModel(bytes, signature, compile.options, compile.samples);
  } catch (error) {
    return { signature: null, notCompiled: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof ModelRefused) return error.reason;
  return error instanceof Error ? error.message : String(error);
}

/** Requests come first. Linux gives each thread a priority of its own; elsewhere it would be the whole process's. */
function lowerPriority(): void {
  if (process.platform !== "linux") return;
  try {
    const thread = Number(basename(readlinkSync("/proc/thread-self")));
    setPriority(thread, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // Without /proc, or the permission, it works at the priority of all.
  }
}
