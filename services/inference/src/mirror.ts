import type { Tensor } from "@millrace/open-inference";
import { type Comparison, type ComparisonReport, createComparison } from "@millrace/rollout";
import type { Handle, SwapController } from "@millrace/serving";
import type { Answered } from "./predict.ts";

/** Direct requests given to the versions beside the one that answered: compared, never answered. */
export interface Mirror {
  offer(answered: Answered, controller: SwapController): void;
  /** What was found, by line and then by pair of versions (`3/4`: 4 beside 3). */
  reports(): ReadonlyMap<string, Readonly<Record<string, ComparisonReport>>>;
}

/** Larger differences of scores are counted as such. */
const TOLERANCE = 0.01;
/** Least time between two requests that are mirrored: a sample is enough to compare by. */
const EVERY_MS = 5;
const DEADLINE_MS = 2_000;
/** Pairs of versions remembered per line. */
const PAIRS_MAX = 8;

export function createMirror(now: () => number): Mirror {
  const lines = new Map<string, Map<string, Comparison>>();
  let notBefore = 0;

  const comparisonOf = (line: string, pair: string): Comparison => {
    let pairs = lines.get(line);
    if (pairs === undefined) lines.set(line, (pairs = new Map()));
    let found = pairs.get(pair);
    if (found === undefined) {
      if (pairs.size >= PAIRS_MAX) pairs.delete(pairs.keys().next().value as string);
      pairs.set(pair, (found = createComparison({ tolerance: TOLERANCE })));
    }
    return found;
  };

  const compare = ({ line, handle, scores }: Answered, other: Handle, input: Tensor): void => {
    const pair = `${handle.of.version}/${other.of.version}`;
    const rows = scores.length;
    try {
      other.lane.submit({
        inputs: [input],
        rows,
        priority: 2,
        arrivedAt: now(),
        deadlineAt: now() + DEADLINE_MS,
        isCancelled: () => false,
        done: (error, [output]) => {
          other.release();
          if (error === null) comparisonOf(line, pair).addTensors(scores, output?.data as Float32Array);
        },
      });
    } catch {
      other.release(); // too much to do
    }
  };

  return {
    offer: (answered, controller) => {
      if (!controller.hasOthers || answered.interleaved !== null || isBusy(answered.handle)) return;
      if (now() < notBefore) return;
      notBefore = now() + EVERY_MS;
      const serving = controller.acquireAll();
      if (serving === null) return;
      const others = [serving.champion, ...serving.beside];
      let input: Tensor | null = null;
      for (const other of others) {
        const isOther = other.of.version !== answered.handle.of.version;
        const fits = other.of.featureDigest === answered.handle.of.featureDigest;
        if (!isOther || !fits || isBusy(other)) {
          other.release();
          continue;
        }
        // The request's bytes go when it is answered.
        input ??= { ...answered.input, data: (answered.input.data as Float32Array).slice() };
        compare({ ...answered, scores: answered.scores.slice() }, other, input);
      }
    },
    reports: () =>
      new Map(
        [...lines].map(([line, pairs]) => [
          line,
          Object.fromEntries([...pairs].map(([pair, comparison]) => [pair, comparison.report()])),
        ]),
      ),
  };
}

/** Callers wait for it: what is only compared has to wait for another time. */
function isBusy({ lane }: Handle): boolean {
  return lane.waitingRows > 0;
}
