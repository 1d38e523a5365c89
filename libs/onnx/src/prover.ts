import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { ModelSignature } from "@millrace/onnx-graph";
import type { Tensor } from "@millrace/open-inference";
import { background } from "./background.ts";
import { ModelRefused } from "./check-model.ts";
import { type LoadOptions, sessionOptions } from "./load.ts";
import type { GoldenRun, ProofFailure, ProofTask } from "./proof.ts";
import type { ChildReply, ChildRequest } from "./prove-child.ts";
import { madeUpSamples } from "./samples.ts";

/** What a model is proved with, and how much that may take. */
export interface ProofRequest {
  /** Requests that it must answer; without them, made-up ones of zeros for its signature. */
  readonly samples?: readonly (readonly Tensor[])[];
  readonly golden?: readonly GoldenRun[];
  /** How far an answer may be from a golden one, absolutely. Default 0. */
  readonly tolerance?: number;
  readonly options: Pick<LoadOptions, "threads" | "optimisation" | "providers">;
  /**
   * Memory beyond that of the idle process. On Linux with `prlimit` (util-linux) it bounds address space, so that a
   * request beyond it fails at once; on Linux without, resident memory, looked at every 20 ms; elsewhere nothing. A
   * model needs about three times its bytes to load.
   */
  readonly memoryBytesMax: number;
  /** From the call to the answer. */
  readonly timeMs: number;
}

/** What came of a proof. */
export type ProofOutcome =
  | {
      readonly ok: true;
      /** Answers to the samples, all outputs in the model's order. */
      readonly outputsForSamples: readonly (readonly Tensor[])[];
      /** Resident memory of the process at its largest, about 100 MB of which are its own. */
      readonly peakBytes: number;
    }
  | { readonly ok: false; readonly failure: ProofFailure; readonly reason: string };
export type ProofResult = ProofOutcome & { readonly millis: number };

/** Proves models, each in a process of its own that does nothing else, and keeps one such process started. */
export interface Prover {
  /**
   * Inspects, loads and runs a model (`proof.ts`) where it can do no harm: a process with an empty environment and
   * the limits. Never rejects before `stop`.
   */
  prove(bytes: Uint8Array, request: ProofRequest): Promise<ProofResult>;
  /** Ends the processes; proofs that run fail as crashed. May be called more than once. */
  stop(): Promise<void>;
}

/** Starts the first process at once: the first proof is quick about 300 ms later. */
export function createProver(): Prover {
  const children = new Set<Child>();
  const start = (): Child => {
    const child = startChild();
    children.add(child);
    void child.ended.then(() => children.delete(child));
    return child;
  };
  let spare: Child | null = start();
  let stopped = false;
  return {
    async prove(bytes, request) {
      if (stopped) throw new Error("the prover is stopped");
      const take = (): Child => {
        const child = spare !== null && children.has(spare) ? spare : start();
        spare = null;
        return child;
      };
      const result = await proveIn(take, bytes, request);
      // Not before: a process that starts would take a core from the proof.
      if (!stopped) spare ??= start();
      return result;
    },
    async stop() {
      stopped = true;
      for (const child of children) child.process.kill("SIGKILL");
      await Promise.all([...children].map(({ ended }) => ended));
    },
  };
}

/** One proof, with the start of its process. Never rejects. */
export function proveModel(bytes: Uint8Array, request: ProofRequest): Promise<ProofResult> {
  return proveIn(startChild, bytes, request);
}

interface Child {
  readonly process: ChildProcess;
  /** Settles when it can take a request, or has ended. */
  readonly ready: Promise<void>;
  readonly ended: Promise<string>;
}

const ENTRY = fileURLToPath(new URL("./prove-child.ts", import.meta.url));
const LOOK_MILLIS = 20;
const run = promisify(execFile);

function startChild(): Child {
  const child = spawn(process.execPath, [ENTRY], {
    // Nothing of this process: no secrets, no settings. More than one malloc arena would only reserve address space.
    env: { MALLOC_ARENA_MAX: "1" },
    stdio: ["pipe", "ignore", "ignore", "ipc"],
    serialization: "advanced",
  });
  lowerPriority(child);
  const ended = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.once("error", (error) => resolve(error.message));
  });
  const ready = new Promise<void>((resolve) => child.once("message", () => resolve()));
  // Writing to a process that has ended fails; that it ended is told by `ended`.
  child.stdin?.on("error", () => undefined);
  return { process: child, ready: Promise.race([ready, ended.then(() => undefined)]), ended };
}

/** Whoever answers requests beside it comes first. */
function lowerPriority({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended already, or the system does not permit it: then it proves at the priority of all.
  }
}

async function proveIn(
  takeChild: () => Child,
  bytes: Uint8Array,
  request: ProofRequest,
): Promise<ProofResult> {
  const start = performance.now();
  const outcome = await outcomeIn(takeChild, bytes, request);
  return { ...outcome, millis: performance.now() - start };
}

async function outcomeIn(
  takeChild: () => Child,
  bytes: Uint8Array,
  { memoryBytesMax, timeMs, ...request }: ProofRequest,
): Promise<ProofOutcome> {
  const start = performance.now();
  let task: ProofTask;
  try {
    task = taskOf(await background.inspect(bytes), request);
  } catch (error) {
    if (!(error instanceof ModelRefused)) throw error;
    return { ok: false, failure: "refused", reason: error.reason };
  }
  const child = takeChild();
  const outcome = Promise.withResolvers<ProofOutcome>();
  const fail = (failure: ProofFailure, reason: string): void =>
    outcome.resolve({ ok: false, failure, reason });
  const leftMs = timeMs - (performance.now() - start);
  const timer = setTimeout(() => fail("time", `it took more than ${timeMs} ms`), leftMs);
  void child.ended.then((how) => fail("crashed", `its process ended: ${how}`));

  await Promise.race([child.ready, outcome.promise]);
  const watch = await boundMemory(child.process, memoryBytesMax, () =>
    fail("memory", `it took more than ${memoryBytesMax} bytes of memory`),
  );
  child.process.once("message", ({ proof, peakBytes }: Exclude<ChildReply, "ready">) =>
    outcome.resolve(proof.ok ? { ...proof, peakBytes } : proof),
  );
  // That a request cannot be sent to a process that has ended is told by `ended`.
  child.process.send({ bytes: bytes.byteLength, task } satisfies ChildRequest, () => undefined);
  child.process.stdin?.end(bytes);

  const result = await outcome.promise;
  clearTimeout(timer);
  clearInterval(watch);
  child.process.kill("SIGKILL");
  return result;
}

function taskOf(
  signature: ModelSignature,
  { samples, golden = [], tolerance = 0, options }: Omit<ProofRequest, "memoryBytesMax" | "timeMs">,
): ProofTask {
  return {
    signature: { inputs: signature.inputs, outputs: signature.outputs },
    samples: samples ?? madeUpSamples(signature),
    golden,
    tolerance,
    options: sessionOptions(options),
  };
}

/**
 * Bounds the memory that the process takes from now on. With `prlimit` the kernel does; without it the process is
 * looked at, by the timer that is returned.
 */
async function boundMemory(
  { pid }: ChildProcess,
  bytesMax: number,
  onExceeded: () => void,
): Promise<NodeJS.Timeout | undefined> {
  const size = await memoryOf(pid, "VmSize");
  if (size === null) return undefined;
  try {
    await run("prlimit", [`--pid=${pid}`, `--as=${size + bytesMax}`]);
    return undefined;
  } catch {
    const resident = (await memoryOf(pid, "VmRSS")) ?? 0;
    return setInterval(() => {
      void memoryOf(pid, "VmRSS").then((now) => {
        if (now !== null && now - resident > bytesMax) onExceeded();
      });
    }, LOOK_MILLIS);
  }
}

/** Bytes of memory of a process as Linux counts them; null where there is no /proc, or no such process any more. */
async function memoryOf(pid: number | undefined, what: "VmSize" | "VmRSS"): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const [, kilobytes] = new RegExp(`^${what}:\\s+(\\d+) kB$`, "m").exec(status) ?? [];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}
