/** The process that proves one model and ends; `prover.ts` starts it, feeds it and bounds it. */
import { readFileSync } from "node:fs";
import { type Proof, type ProofTask, prove } from "./proof.ts";

/** What comes over the channel; the bytes of the model follow on standard input. */
export interface ChildRequest {
  readonly bytes: number;
  readonly task: ProofTask;
}

/** First "ready", then the proof. */
export type ChildReply = "ready" | { readonly proof: Proof; readonly peakBytes: number };

const send = (reply: ChildReply): void => void process.send?.(reply);

// Without its parent nobody waits for the answer.
process.once("disconnect", () => process.exit());
process.once("message", ({ bytes, task }: ChildRequest) => {
  void readInput(bytes)
    .then((model) => prove(model, task))
    .then((proof) => send({ proof, peakBytes: peakBytes() }));
});
send("ready");

async function readInput(length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Linux: the maximum that getrusage gives is at least the parent's size when it started this process. */
function peakBytes(): number {
  try {
    const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return Number(kilobytes) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}
