import { GenerationError } from "./generation-error.ts";
import { highestFirst } from "./highest-first.ts";
import { splitMix64 } from "./random.ts";

/** How a token is chosen by its logits; applied in this order. */
export interface SamplingOptions {
  /** Logits of tokens that were there are divided by it where positive, else multiplied (Keskar et al., 2019). 1: off. */
  readonly repetitionPenalty: number;
  /** Logits are divided by it; 0: the most likely token is taken, always. */
  readonly temperature: number;
  /** Only that many most likely tokens; 0: all. */
  readonly topK: number;
  /** Only the fewest tokens whose probabilities sum to at least this (Holtzman et al., 2020). 1: all. */
  readonly topP: number;
  /** 0 to 2^53 - 1. */
  readonly seed: number;
}

/** Chooses a token by the logits [vocabulary]; `seen` are those of the prompt and of the text so far. */
export type Sampler = (logits: Float32Array, seen: Iterable<number>) => number;

/** The same seed chooses the same tokens for the same logits. A sampler throws a GenerationError for NaN. */
export function createSampler(options: SamplingOptions): Sampler {
  const random = splitMix64(options.seed);
  return (logits, seen) => {
    const scores = penalised(logits, seen, options.repetitionPenalty);
    const best = mostLikely(scores);
    if (options.temperature === 0) return best;
    const weights = weightsOf(scores, scores[best] as number, options.temperature);
    keepLikely(weights, options.topK, options.topP);
    return draw(weights, random());
  };
}

function penalised(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  if (penalty === 1) return logits;
  const scores = logits.slice();
  for (const token of seen) {
    const score = scores[token];
    if (score !== undefined) scores[token] = score > 0 ? score / penalty : score * penalty;
  }
  return scores;
}

/** The first of the highest. */
function mostLikely(scores: Float32Array): number {
  let best = 0;
  for (let token = 0; token < scores.length; token++) {
    const score = scores[token] as number;
    if (Number.isNaN(score)) throw new GenerationError("logits", `NaN for token ${token}`);
    if (score > (scores[best] as number)) best = token;
  }
  if (Number.isFinite(scores[best])) return best;
  throw new GenerationError("logits", `the highest is ${scores[best]}, expected a finite number`);
}

/** Probabilities times one number, so that the highest is 1 and none overflows. */
function weightsOf(scores: Float32Array, highest: number, temperature: number): Float64Array {
  const weights = new Float64Array(scores.length);
  for (let token = 0; token < scores.length; token++) {
    weights[token] = Math.exp(((scores[token] as number) - highest) / temperature);
  }
  return weights;
}

/** Sets to 0 what neither top_k nor top_p keeps. Of equals, the first ones are kept. */
function keepLikely(weights: Float64Array, topK: number, topP: number): void {
  if (topK === 0 && topP === 1) return;
  const falling = topK === 0 ? highestFirst(weights, weights.length) : [...highestFirst(weights, topK)];
  const enough = topP * sum(topK === 0 ? weights : falling);
  let least = Number.POSITIVE_INFINITY;
  let equals = 0;
  let mass = 0;
  for (const weight of falling) {
    equals = weight === least ? equals + 1 : 1;
    least = weight;
    mass += weight;
    if (mass >= enough) break;
  }
  for (let token = 0; token < weights.length; token++) {
    const weight = weights[token] as number;
    const isKept = weight > least || (weight === least && equals-- > 0);
    if (!isKept) weights[token] = 0;
  }
}

/** A token, as likely as its share of the weights; `chance` in [0, 1). */
function draw(weights: Float64Array, chance: number): number {
  let left = chance * sum(weights);
  let last = 0;
  for (let token = 0; token < weights.length; token++) {
    const weight = weights[token] as number;
    if (weight === 0) continue;
    last = token;
    left -= weight;
    if (left < 0) break;
  }
  return last;
}

function sum(weights: Iterable<number>): number {
  let total = 0;
  for (const weight of weights) total += weight;
  return total;
}
