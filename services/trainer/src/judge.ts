import type { Verdict } from "@millrace/contracts";
import { type Contestant, judgeCandidates } from "@millrace/judge";
import { featureNames, type LineDefinition } from "@millrace/lines";
import type { Dataset, HeldOut } from "./build.ts";
import type { LoadModel } from "./ports.ts";
import { RunFailed } from "./run-failed.ts";
import type { FailedCandidate, TrainedCandidate } from "./train.ts";

const CHUNK_ROWS = 8_192;

export interface JudgeRequest {
  readonly line: LineDefinition;
  readonly featureDigest: string;
  readonly trained: readonly TrainedCandidate[];
  /** The model that serves; null when none does, or none that understands these features. */
  readonly champion: Uint8Array | null;
  readonly dataset: Dataset;
  readonly heldOut: HeldOut;
}

export interface Judgement {
  readonly verdict: Verdict;
  readonly winner: TrainedCandidate;
  /** Candidates whose model was refused. */
  readonly refused: readonly FailedCandidate[];
}

/**
 * Checks every candidate's model in onnxruntime (does it reproduce the recipe's own scores of the golden rows?) and
 * judges the rest, and the champion, on the held-out rows. Throws a RunFailed when no candidate is left.
 */
export async function judge(
  request: JudgeRequest,
  loadModel: LoadModel,
  threads: number,
): Promise<Judgement> {
  const { line, heldOut, dataset } = request;
  const contestants: (Contestant & { readonly parity: number; readonly trained: TrainedCandidate })[] = [];
  const refused: FailedCandidate[] = [];
  for (const trained of request.trained) {
    const { candidate, seconds } = trained;
    try {
      const { parity, scores } = await examine(trained, request, loadModel, threads);
      contestants.push({ name: candidate.name, seconds, parity, scores, trained });
    } catch (error) {
      refused.push({ candidate, reason: (error as Error).message });
    }
  }
  if (contestants.length === 0) {
    throw new RunFailed(`No candidate can be judged: ${sentences(refused)}`);
  }
  const champion =
    request.champion === null ? null : await scoreOnce(request.champion, heldOut, loadModel, threads);
  const { training } = dataset.manifest;
  const verdict = judgeCandidates({
    labels: heldOut.labels,
    champion,
    candidates: contestants,
    baseRate: training.positives / training.rows,
    gates: line.gates,
    heldOut: { fromMs: dataset.manifest.heldOutFromMs, untilMs: dataset.manifest.filter.untilMs },
  });
  const best = contestants.find(({ name }) => name === verdict.candidates[0]?.name);
  if (best === undefined) throw new Error("the judge chose a candidate that did not compete");
  const parity = { gate: "parity", passed: true, value: best.parity, bound: line.gates.parity };
  return { verdict: { ...verdict, gates: [parity, ...verdict.gates] }, winner: best.trained, refused };
}

/**
 * The verdict on a line's first version: nothing served before and there is nothing to compare with, so that it only
 * has to reproduce its own scores. Throws a RunFailed when it does not.
 */
export async function judgeBaseline(
  trained: TrainedCandidate,
  request: Pick<JudgeRequest, "line" | "featureDigest">,
  loadModel: LoadModel,
): Promise<Verdict> {
  const nothing = { rows: 0, labels: new Float32Array(0), matrix: new Float32Array(0) };
  const { parity } = await examine(trained, { ...request, heldOut: nothing }, loadModel, 1).catch(
    (error: Error) => {
      throw new RunFailed(`The baseline cannot be served: ${error.message}`, { cause: error });
    },
  );
  const none = { rows: 0, positives: 0, logLoss: 0, brier: 0, averagePrecision: 0, auc: 0 };
  return {
    passed: true,
    reason: "nothing served before: the baseline answers until there is something to learn from",
    candidate: none,
    champion: null,
    baseRate: none,
    gates: [{ gate: "parity", passed: true, value: parity, bound: request.line.gates.parity }],
    heldOut: { fromMs: 0, untilMs: 0, rows: 0 },
    candidates: [],
  };
}

/** The failures as one sentence per candidate. */
export function sentences(failed: readonly FailedCandidate[]): string {
  return failed.map(({ candidate, reason }) => `${candidate.name}: ${reason}.`).join(" ");
}

/** Largest difference on the golden rows, and the scores of the held-out rows. Throws an Error that says why not. */
async function examine(
  { model: bytes, golden }: TrainedCandidate,
  { line, featureDigest, heldOut }: Pick<JudgeRequest, "line" | "featureDigest" | "heldOut">,
  loadModel: LoadModel,
  threads: number,
): Promise<{ parity: number; scores: Float32Array }> {
  const width = featureNames(line).length;
  const model = await loadModel(bytes, { threads });
  try {
    const { signature } = model;
    if (signature.features !== width) {
      throw new Error(`its model takes ${signature.features} features, not ${width}`);
    }
    if (signature.featureDigest !== null && signature.featureDigest !== featureDigest) {
      throw new Error("its model was made for another feature definition");
    }
    if (golden.inputs.some((row) => row.length !== width) || golden.scores.length !== golden.inputs.length) {
      throw new Error(`its golden rows do not have ${width} values and one score each`);
    }
    const matrix = Float32Array.from(golden.inputs.flat(), (value) => value ?? Number.NaN);
    const again = await model.score(matrix, golden.inputs.length);
    const parity = again.reduce(
      (most, score, row) => Math.max(most, Math.abs(score - (golden.scores[row] as number))),
      0,
    );
    // Written so that NaN does not pass.
    if (!(parity <= line.gates.parity)) {
      throw new Error(
        `onnxruntime scores its golden rows differently by ${parity}, more than ${line.gates.parity}`,
      );
    }
    return { parity, scores: await scoreAll(model, heldOut, width) };
  } finally {
    await model.release();
  }
}

async function scoreOnce(
  bytes: Uint8Array,
  heldOut: HeldOut,
  loadModel: LoadModel,
  threads: number,
): Promise<Float32Array> {
  const model = await loadModel(bytes, { threads });
  try {
    return await scoreAll(model, heldOut, model.signature.features);
  } finally {
    await model.release();
  }
}

/** In chunks, so that other work gets its turn: scoring holds the thread. */
async function scoreAll(
  model: Awaited<ReturnType<LoadModel>>,
  { rows, matrix }: HeldOut,
  width: number,
): Promise<Float32Array> {
  const scores = new Float32Array(rows);
  for (let from = 0; from < rows; from += CHUNK_ROWS) {
    const until = Math.min(rows, from + CHUNK_ROWS);
    const chunk = matrix.subarray(from * width, until * width);
    scores.set(await model.score(chunk, until - from), from);
    await new Promise(setImmediate);
  }
  return scores;
}
