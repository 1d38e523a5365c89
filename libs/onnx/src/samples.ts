import { lineWidth, type ModelSignature } from "@millrace/onnx-graph";
import { ARRAYS, type Datatype, elements, type Tensor, type TensorData } from "@millrace/open-inference";

const ROWS = [1, 64];

/**
 * Made-up requests for a model of which nothing but its signature is known: zeros and empty texts, free dimensions 1,
 * and where the model batches also 64 rows. A line's model also gets rows of unknown values (NaN).
 */
export function madeUpSamples(signature: ModelSignature): Tensor[][] {
  const rows = signature.batches ? ROWS : [1];
  const fills = lineWidth(signature) === null ? [0] : [0, Number.NaN];
  return rows.flatMap((count) => fills.map((fill) => madeUp(signature, count, fill)));
}

/** The smallest of them. */
export const smallestSample = (signature: ModelSignature): Tensor[] => madeUp(signature, 1, 0);

/** Values that trees may treat in a special way. */
const SPECIAL = [
  Number.NaN,
  0,
  -0,
  1,
  Infinity,
  -Infinity,
  3.4028234663852886e38,
  -3.4028234663852886e38,
  2 ** -149,
];
const SCATTERED_ROWS = 512;
const SEED = 20_261_125;

/**
 * Rows that reach many leaves of trees on any features, always the same: Float32Array [512 x features]. First a row of
 * each special value, then rows of small whole numbers, special values, and numbers of either sign from 2^-10 to 2^20,
 * as many of each power.
 */
export function scatteredRows(features: number): Float32Array {
  const random = mulberry32(SEED);
  const scattered = (): number => {
    const kind = random();
    if (kind < 0.1) return SPECIAL[Math.floor(random() * SPECIAL.length)] as number;
    if (kind < 0.3) return Math.floor(random() * 32);
    return (random() < 0.3 ? -1 : 1) * 2 ** (random() * 30 - 10);
  };
  return Float32Array.from({ length: SCATTERED_ROWS * features }, (_, i) => {
    return SPECIAL[Math.floor(i / features)] ?? scattered();
  });
}

/** The generator mulberry32 (Tommy Ettinger, 2017): numbers from 0 to below 1. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function madeUp({ inputs, batches }: ModelSignature, rows: number, fill: number): Tensor[] {
  return inputs.map(({ name, datatype, shape: free }) => {
    const shape = free.map((size, i) => (size !== -1 ? size : batches && i === 0 ? rows : 1));
    return { name, datatype, shape, data: filled(datatype, elements(shape), fill) };
  });
}

function filled(datatype: Datatype, values: number, fill: number): TensorData {
  if (datatype === "BYTES") return Array.from({ length: values }, () => new Uint8Array(0));
  return datatype === "FP32" ? new Float32Array(values).fill(fill) : new ARRAYS[datatype](values);
}
