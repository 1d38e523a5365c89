import type { TreesImage } from "./compile.ts";
import { MEMBER, NO_MEMBER, type Slot } from "./questions.ts";
import { applyStep } from "./steps.ts";
import { start } from "./wasm.ts";

/** A tree ensemble that is ready to score. */
export interface CompiledTrees {
  /** Values per row of the input. */
  readonly features: number;
  /** Values per row of the output. */
  readonly outputs: number;
  /** Memory that it holds. */
  readonly bytes: number;
  /**
   * Scores `rows` rows on the calling thread, without making objects. `matrix`: Float32Array [rows x features],
   * row-major, NaN where a value is unknown; `out`: Float32Array [rows x outputs], which is filled. Throws a RangeError
   * when a size is another one, an Error after `release`.
   */
  score(matrix: Float32Array, rows: number, out: Float32Array): void;
  /** Lets the memory go. May be called more than once. */
  release(): void;
}

/**
 * Starts what `compileTrees` made; takes a copy of the tables. Holds the thread for a fraction of a millisecond per
 * megabyte. The image is trusted: it is not for bytes from outside.
 */
export function startTrees(image: TreesImage): CompiledTrees {
  const { features, outputs } = image;
  let kernel: Kernel | null = startKernel(image);
  return {
    features,
    outputs,
    bytes: kernel.bytes,
    score(matrix, rows, out) {
      if (kernel === null) throw new Error("the trees were released");
      if (matrix.length !== rows * features || out.length !== rows * outputs) {
        throw new RangeError(
          `${matrix.length} values and ${out.length} scores are not ${rows} rows of ${features} and ${outputs}`,
        );
      }
      for (let from = 0; from < rows; from += kernel.rowsMax) {
        const some = Math.min(kernel.rowsMax, rows - from);
        const scores = kernel.scoreBlock(matrix, from, some);
        for (let i = 0; i < some * outputs; i++) out[from * outputs + i] = scores[i] as number;
      }
    },
    release() {
      kernel = null;
    },
  };
}

/** What holds the memory. */
interface Kernel {
  readonly bytes: number;
  readonly rowsMax: number;
  /** Scores `rows` rows of the matrix from row `from` on; the answer is good until the next call. */
  scoreBlock(matrix: Float32Array, from: number, rows: number): Float32Array;
}

function startKernel(image: TreesImage): Kernel {
  const { features, slots, blockRows, valuesMax, targets, neutral, places, tables, steps } = image;
  const { run, memory } = start(image.kernel);
  new Uint8Array(memory, places.groups).set(tables);
  const stride = places.slotsStride / 4;
  const block = new Float32Array(memory, places.slots, blockRows * stride);
  const sums = new Float32Array(memory, places.sums, blockRows * valuesMax);
  const spare = new Float32Array(blockRows * valuesMax);
  return {
    bytes: memory.byteLength + spare.byteLength,
    rowsMax: blockRows,
    scoreBlock(matrix, from, rows) {
      for (let i = 0; i < rows; i++) fillSlots(slots, block, i * stride, matrix, (from + i) * features);
      sums.fill(neutral, 0, rows * targets);
      run(rows);
      let [values, other] = [sums, spare];
      for (const step of steps) {
        applyStep(step, values, other, rows);
        [values, other] = [other, values];
      }
      return values;
    },
  };
}

/** Writes the slots of the row that begins at value `row` of the matrix to `at` in the block. */
function fillSlots(
  slots: readonly Slot[],
  block: Float32Array,
  at: number,
  matrix: Float32Array,
  row: number,
): void {
  let to = at;
  for (const { feature, members } of slots) {
    const value = matrix[row + feature] as number;
    if (members === null || Number.isNaN(value)) block[to++] = value;
    else block[to++] = members.has(value) ? MEMBER : NO_MEMBER;
  }
}
