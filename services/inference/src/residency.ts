import { type Log, sleep } from "@millrace/runtime";
import type { NodeLine } from "./line.ts";

export interface ResidencyPorts {
  readonly lines: ReadonlyMap<string, NodeLine>;
  /** What loaded models may hold in memory together. */
  readonly bytesMax: number;
  /** Monotonic ms. */
  readonly now: () => number;
  readonly log: Log;
}

const LOOK_MS = 500;
/** A line that was used within this time is left where it is. */
const IDLE_MS = 5_000;

/** Which of the lines give up their memory: idle ones, the longest unused first, until the rest fits. */
export function linesToPark(
  lines: readonly { readonly bytes: number; readonly idleMs: number }[],
  bytesMax: number,
): number[] {
  let bytes = lines.reduce((sum, line) => sum + line.bytes, 0);
  const idle = lines
    .map((line, index) => ({ ...line, index }))
    .filter((line) => line.idleMs >= IDLE_MS && line.bytes > 0)
    .sort((a, b) => b.idleMs - a.idleMs);
  const parked: number[] = [];
  for (const line of idle) {
    if (bytes <= bytesMax) break;
    parked.push(line.index);
    bytes -= line.bytes;
  }
  return parked;
}

/** Keeps the loaded models within the memory that they may hold. Resolves when `signal` aborts. */
export async function keepWithinMemory(ports: ResidencyPorts, signal: AbortSignal): Promise<void> {
  const { lines, bytesMax, now, log } = ports;
  while (!signal.aborted) {
    const all = [...lines.values()];
    const facts = all.map(({ controller, usedAt, isBusy }) => ({
      bytes: controller.memoryBytes,
      idleMs: isBusy ? 0 : now() - usedAt,
    }));
    for (const index of linesToPark(facts, bytesMax)) {
      const line = all[index] as NodeLine;
      log.info({ line: line.name, bytes: line.controller.memoryBytes }, "let go to make room");
      // It may be held for a while: the others need not wait for it.
      void line.controller.park();
    }
    await sleep(LOOK_MS, signal);
  }
}
