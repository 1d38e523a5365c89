import { HIGHEST, LOWEST } from "./questions.ts";
import { type Code, f32, get, i32, type Local, moduleBytes, repeatWhile, set, tee, v128 } from "./wasm.ts";

/**
 * The kernel: walks trees for the rows of a block and adds up (or takes the least or largest of) their leaves.
 *
 * A walk is a chain of loads, each of which waits for the last; so LANES trees are walked at once, one step each in
 * turn, until all have reached their leaves, and no step branches. A group of LANES trees stays in the first-level
 * cache while all rows of the block pass it. All memory is laid out by `table.ts`:
 *
 * - slots of a row: FP32, padded to whole vectors; from them the kernel makes the columns of the row: for each vector of
 *   four slots, four i32 with unknown values lowest, then four with unknown values highest;
 * - a node: 8 bytes: key (i32), byte offset of its column in the row (u16), distance to its left child in nodes (u16);
 *   the right child follows the left one. A leaf has the key HIGHEST, which no column exceeds, and distance 0: walking
 *   on stays there. The number of the leaf in its tree stands where the offset of the column would; what a leaf reads
 *   from "its column" does not matter, it only has to be inside of the memory;
 * - a group: for each lane the addresses of the tree's root and of its leaves' weights (two i32), then the byte offset
 *   of its first target in the sums of a row (i32);
 * - the weights of a leaf: `width` times FP32, for as many targets from the group's first one on.
 */
export const LANES = 8;
export const GROUP_BYTES: number = LANES * 8 + 4;
const VECTOR_BYTES = 16;
const PAGE_BYTES = 65_536;

/** Where the column of a slot lies in a row's columns, in bytes. */
export function columnOffset(slot: number, unknown: typeof LOWEST | typeof HIGHEST): number {
  const vector = Math.floor(slot / 4) * 2 * VECTOR_BYTES;
  return vector + (unknown === HIGHEST ? VECTOR_BYTES : 0) + (slot % 4) * 4;
}

/** Where things are in the memory, in bytes. */
export interface Places {
  /** FP32 [rows x slots], what the kernel reads; a row has `slotsStride` bytes, a multiple of 16 and not 0. */
  readonly slots: number;
  readonly slotsStride: number;
  /** Columns [rows], of twice the stride. */
  readonly columns: number;
  /** FP32 [rows x targets], to which the kernel adds. */
  readonly sums: number;
  readonly groups: number;
  readonly groupsEnd: number;
  readonly memory: number;
}

/**
 * A module whose `run(rows)` combines the trees' weights with what stands in the sums of the first `rows` rows of the
 * block, at least 1. `width`: the weights per leaf, 1 or as many as there are targets.
 */
export function kernelModule(
  places: Places,
  targets: number,
  width: number,
  combine: "add" | "min" | "max",
): Uint8Array<ArrayBuffer> {
  const rows: Local = 0;
  const [group, row, sums, sumsEnd, distance, moving, target] = [1, 2, 3, 4, 5, 6, 7] as const;
  const lanes = Array.from({ length: LANES }, (_, lane): Local => 8 + lane);
  const [values, keys] = [8 + LANES, 9 + LANES] as const;
  const constant = i32.const;
  const next = (local: Local, bytes: number): Code => set(local, i32.add(get(local), constant(bytes)));

  // Adding 0 makes 0 of -0; of a negative number all bits but the sign are inverted (see `orderKey`).
  const [slots, slotsEnd, columns] = [group, sumsEnd, row] as const;
  const negative = v128.shiftUnsigned(v128.shiftSigned(get(values), constant(31)), constant(1));
  const known = v128.equalFloats(get(values), get(values));
  const makeColumns: Code[] = [
    set(slots, constant(places.slots)),
    set(slotsEnd, i32.add(get(slots), i32.mul(get(rows), constant(places.slotsStride)))),
    set(columns, constant(places.columns)),
    repeatWhile(
      [
        set(values, v128.addFloats(v128.load(get(slots)), v128.splat(constant(0)))),
        set(keys, v128.xor(get(values), negative)),
        v128.store(get(columns), v128.select(get(keys), v128.splat(constant(LOWEST)), known)),
        v128.store(get(columns), v128.select(get(keys), v128.splat(constant(HIGHEST)), known), VECTOR_BYTES),
        next(slots, VECTOR_BYTES),
        next(columns, 2 * VECTOR_BYTES),
      ],
      i32.lessUnsigned(get(slots), get(slotsEnd)),
    ),
  ];

  const step = (at: Local, lane: number): Code => {
    const column = i32.load(i32.add(get(row), i32.load16(get(at), 4)));
    const isRight = i32.greater(column, i32.load(get(at)));
    const bytes = (nodes: Code): Code => i32.shl(nodes, constant(3));
    const left = i32.add(get(at), bytes(tee(distance, i32.load16(get(at), 6))));
    return [
      ...set(at, i32.add(left, bytes(isRight))),
      ...set(moving, lane === 0 ? get(distance) : i32.or(get(moving), get(distance))),
    ];
  };
  const toWeights = (at: Local, lane: number): Code => {
    const leaf = i32.mul(i32.load16(get(at), 4), constant(4 * width));
    return set(at, i32.add(i32.load(get(group), lane * 8 + 4), leaf));
  };
  const combineOne: Code = f32.store(
    get(target),
    lanes.reduce<Code>((sum, at) => f32[combine](sum, f32.load(get(at))), f32.load(get(target))),
  );
  const combineAll = repeatWhile(
    [combineOne, ...lanes.map((at) => next(at, 4)), next(target, 4), next(distance, -1)],
    get(distance),
  );
  const oneRow: Code[] = [
    ...lanes.map((at, lane) => set(at, i32.load(get(group), lane * 8))),
    repeatWhile(lanes.map(step), get(moving)),
    ...lanes.map(toWeights),
    set(target, i32.add(get(sums), i32.load(get(group), LANES * 8))),
    ...(width === 1 ? [combineOne] : [set(distance, constant(width)), combineAll]),
    next(row, 2 * places.slotsStride),
    next(sums, targets * 4),
  ];
  const oneGroup: Code[] = [
    set(row, constant(places.columns)),
    set(sums, constant(places.sums)),
    set(sumsEnd, i32.add(get(sums), i32.mul(get(rows), constant(targets * 4)))),
    repeatWhile(oneRow, i32.lessUnsigned(get(sums), get(sumsEnd))),
    next(group, GROUP_BYTES),
  ];
  const allGroups: Code[] = [
    set(group, constant(places.groups)),
    repeatWhile(oneGroup, i32.lessUnsigned(get(group), constant(places.groupsEnd))),
  ];
  const pages = Math.ceil(places.memory / PAGE_BYTES);
  return moduleBytes(pages, 1, { i32: 7 + LANES, v128: 2 }, [...makeColumns, ...allGroups].flat());
}
