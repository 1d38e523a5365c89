import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { onnx } from "@millrace/contracts";
import { compileTrees, startTrees } from "@millrace/trees";
import fc from "fast-check";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";

/** Compiled trees score what onnxruntime scores: invariants T1 and T2 of `@millrace/trees`. */
const TOLERANCE = 1e-6;
const FEATURES = 4;
const RUNS = 100;

type Attribute = MessageInitShape<typeof onnx.AttributeProtoSchema>;
type Operator = MessageInitShape<typeof onnx.NodeProtoSchema>;
type TensorShape = MessageInitShape<typeof onnx.TensorProtoSchema>;
const TYPES = onnx.AttributeProto_AttributeType;
const { FLOAT, INT64, UINT8 } = onnx.TensorProto_DataType;
const encoder = new TextEncoder();

/** Attributes by name: whole numbers, texts, lists of them; what else there is, is given as it is. */
function attributes(values: Record<string, number | string | readonly (number | string)[]>): Attribute[] {
  return Object.entries(values).map(([name, value]): Attribute => {
    if (typeof value === "number") return { name, type: TYPES.INT, i: BigInt(value) };
    if (typeof value === "string") return { name, type: TYPES.STRING, s: encoder.encode(value) };
    if (typeof value[0] === "string") {
      return { name, type: TYPES.STRINGS, strings: value.map((one) => encoder.encode(String(one))) };
    }
    return { name, type: TYPES.INTS, ints: value.map((one) => BigInt(one)) };
  });
}
const floats = (name: string, values: readonly number[]): Attribute => ({
  name,
  type: TYPES.FLOATS,
  floats: [...values],
});
const tensor = (
  name: string,
  dataType: number,
  values: readonly number[],
  dims: readonly number[] = [values.length],
): TensorShape => ({
  name,
  dataType,
  dims: dims.map(BigInt),
  ...(dataType === FLOAT && { floatData: [...values] }),
  ...(dataType === INT64 && { int64Data: values.map(BigInt) }),
  ...(dataType === UINT8 && { int32Data: [...values] }),
});
const tensorAttribute = (name: string, dataType: number, values: readonly number[]): Attribute => ({
  name,
  type: TYPES.TENSOR,
  t: tensor("", dataType, values),
});

/** A model with the input x [rows, FEATURES]; its output is that of the last operator. */
function modelBytes(node: readonly Operator[], rank: 1 | 2, initializer: TensorShape[] = []): Uint8Array {
  const value = (name: string, ...sizes: (string | number)[]) => {
    const dim = sizes.map((size) => ({
      value:
        typeof size === "string"
          ? { case: "dimParam" as const, value: size }
          : { case: "dimValue" as const, value: BigInt(size) },
    }));
    const tensorType = { case: "tensorType" as const, value: { elemType: FLOAT, shape: { dim } } };
    return { name, type: { value: tensorType } };
  };
  const output = node.at(-1)?.output?.at(-1) as string;
  const opset = node[0]?.opType === "TreeEnsemble" ? 5n : 3n;
  const model = create(onnx.ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [
      { domain: "", version: 17n },
      { domain: "ai.onnx.ml", version: opset },
    ],
    graph: {
      name: "trees",
      node: [...node],
      initializer,
      input: [value("x", "rows", FEATURES)],
      output: [rank === 1 ? value(output, "rows") : value(output, "rows", "width")],
    },
  });
  return toBinary(onnx.ModelProtoSchema, model);
}

const treeOperator = (opType: string, output: string[], attribute: Attribute[]): Operator => ({
  opType,
  domain: "ai.onnx.ml",
  input: ["x"],
  output,
  attribute,
});

/** Scores the rows with both, together and each alone. */
async function expectSame(bytes: Uint8Array, values: readonly number[]): Promise<void> {
  const rows = Math.floor(values.length / FEATURES);
  const matrix = Float32Array.from(values.slice(0, rows * FEATURES));
  const image = compileTrees(bytes);
  if ("unsupported" in image) throw new Error(image.unsupported);
  const ours = startTrees(image);
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  try {
    const results = await session.run({ x: new Tensor("float32", matrix, [rows, FEATURES]) });
    const theirs = results[session.outputNames[0] as string]?.data as Float32Array;
    const together = new Float32Array(rows * ours.outputs);
    ours.score(matrix, rows, together);
    const alone = new Float32Array(ours.outputs);
    for (let row = 0; row < rows; row++) {
      const one = matrix.subarray(row * FEATURES, (row + 1) * FEATURES);
      ours.score(one, 1, alone);
      const at = row * ours.outputs;
      expect(together.subarray(at, at + ours.outputs), `row [${one.join(", ")}]`).toEqual(alone);
    }
    expect(theirs.length).toBe(together.length);
    const isFar = (expected: number, i: number): boolean =>
      !(Math.abs((together[i] as number) - expected) <= TOLERANCE * Math.max(1, Math.abs(expected)));
    const far = [...theirs.entries()].filter(([i, expected]) => isFar(expected, i));
    expect(far.map(([i, expected]) => ({ i, expected, actual: together[i] }))).toEqual([]);
  } finally {
    await session.release();
    ours.release();
  }
}

interface Split {
  readonly feature: number;
  readonly mode: string;
  readonly value: number;
  readonly unknownTrue: boolean;
}
/** Splits in level order, one leaf more than splits: node i has the children 2i + 1 and 2i + 2. */
interface Tree {
  readonly splits: readonly Split[];
  readonly leaves: readonly (readonly number[])[];
}
/** A node of the classical operators: number `i` of tree `t`; the children do not matter for a leaf. */
interface Row extends Split {
  readonly t: number;
  readonly i: number;
  readonly yes: number;
  readonly no: number;
}
const LEAF = { feature: 0, mode: "LEAF", value: 0, unknownTrue: false, yes: 0, no: 0 };

function nodeAttributes(nodes: readonly Row[]): Attribute[] {
  return [
    ...attributes({
      nodes_treeids: nodes.map(({ t }) => t),
      nodes_nodeids: nodes.map(({ i }) => i),
      nodes_featureids: nodes.map(({ feature }) => feature),
      nodes_modes: nodes.map(({ mode }) => (mode === "LEAF" ? mode : `BRANCH_${mode}`)),
      nodes_truenodeids: nodes.map(({ yes }) => yes),
      nodes_falsenodeids: nodes.map(({ no }) => no),
      nodes_missing_value_tracks_true: nodes.map(({ unknownTrue }) => Number(unknownTrue)),
    }),
    floats(
      "nodes_values",
      nodes.map(({ value }) => value),
    ),
  ];
}

/** `targetsOf` says for which targets the leaves of tree t weigh. */
function ensembleAttributes(
  list: readonly Tree[],
  what: "target" | "class",
  targetsOf: (tree: number) => readonly number[],
): Attribute[] {
  const nodes = list.flatMap(({ splits, leaves }, t): Row[] => [
    ...splits.map((split, i) => ({ ...split, t, i, yes: 2 * i + 1, no: 2 * i + 2 })),
    ...leaves.map((_, i) => ({ ...LEAF, t, i: splits.length + i })),
  ]);
  const weights = list.flatMap(({ splits, leaves }, t) =>
    leaves.flatMap((values, leaf) =>
      targetsOf(t).map((target) => ({ t, i: splits.length + leaf, target, value: values[target] as number })),
    ),
  );
  return [
    ...nodeAttributes(nodes),
    ...attributes({
      [`${what}_treeids`]: weights.map(({ t }) => t),
      [`${what}_nodeids`]: weights.map(({ i }) => i),
      [`${what}_ids`]: weights.map(({ target }) => target),
    }),
    floats(
      `${what}_weights`,
      weights.map(({ value }) => value),
    ),
  ];
}

const MODES = ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"];
const CORNERS = [0, -0, 0.1, -0.1, 1, 2, 3, 31, 32, 33, 1.5, 1e-45, -1e-45, Infinity, -Infinity];
/** Thresholds and values meet often. */
const point = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...CORNERS.map(Math.fround)) },
  fc.float({ noNaN: true, min: -4, max: 4 }),
  fc.integer({ min: -2, max: 34 }),
);
const rows = fc.array(fc.oneof({ weight: 8, arbitrary: point }, fc.constant(Number.NaN)), {
  minLength: FEATURES,
  maxLength: 41 * FEATURES,
});
const split = (modes: readonly string[]): fc.Arbitrary<Split> =>
  fc.record({
    feature: fc.nat(FEATURES - 1),
    mode: fc.constantFrom(...modes),
    value: point,
    unknownTrue: fc.boolean(),
  });
const weight = fc.float({ noNaN: true, min: -1, max: 1 });
const positive = fc.float({ noNaN: true, min: 0, max: Math.fround(0.1) });
const listOf = <T>(of: fc.Arbitrary<T>, length: number): fc.Arbitrary<T[]> =>
  fc.array(of, { minLength: length, maxLength: length });
const trees = (modes: readonly string[], targets: number, weights = weight): fc.Arbitrary<Tree[]> => {
  const tree = fc
    .array(split(modes), { maxLength: 15 })
    .chain((splits) =>
      listOf(listOf(weights, targets), splits.length + 1).map((leaves): Tree => ({ splits, leaves })),
    );
  return fc.array(tree, { minLength: 1, maxLength: 20 });
};
const someModes = fc.oneof(
  fc.constantFrom(...MODES).map((mode) => [mode]),
  fc.subarray(MODES, { minLength: 1 }),
);
const transform = fc.constantFrom("NONE", "LOGISTIC", "SOFTMAX");

describe("compiled trees and onnxruntime", () => {
  it("regressors agree, of all modes, aggregates and numbers of targets", async () => {
    const model = fc.tuple(someModes, fc.integer({ min: 1, max: 4 })).chain(([modes, targets]) =>
      fc.record({
        targets: fc.constant(targets),
        list: trees(modes, targets),
        aggregate: fc.constantFrom("SUM", "AVERAGE", ...(targets === 1 ? ["MIN", "MAX"] : [])),
        base: fc.option(listOf(weight, targets)),
        transform: targets === 1 ? fc.constant("NONE") : transform,
        isOneTargetPerTree: fc.boolean(),
      }),
    );
    await fc.assert(
      fc.asyncProperty(model, rows, async (m, values) => {
        const targetsOf = (t: number): number[] =>
          m.isOneTargetPerTree ? [t % m.targets] : [...Array(m.targets).keys()];
        const operator = treeOperator(
          "TreeEnsembleRegressor",
          ["y"],
          [
            ...ensembleAttributes(m.list, "target", targetsOf),
            ...attributes({
              n_targets: m.targets,
              aggregate_function: m.aggregate,
              post_transform: m.transform,
            }),
            ...(m.base === null ? [] : [floats("base_values", m.base)]),
          ],
        );
        await expectSame(modelBytes([operator], 2), values);
      }),
      { numRuns: RUNS },
    );
  });

  it("classifiers agree, with one score for two classes, a score for each, and more classes", async () => {
    const model = fc
      .tuple(someModes, fc.integer({ min: 2, max: 4 }), fc.boolean())
      .chain(([modes, classes, isPositive]) =>
        fc.record({
          classes: fc.constant(classes),
          list: trees(modes, classes, isPositive ? positive : weight),
          base: fc.option(listOf(weight, classes)),
          transform,
          isOneClassPerTree: fc.boolean(),
          isOneScore: fc.boolean(),
        }),
      );
    await fc.assert(
      fc.asyncProperty(model, rows, async (m, values) => {
        const all = [...Array(m.classes).keys()];
        const isOneScore = m.classes === 2 && (m.isOneScore || (m.isOneClassPerTree && m.list.length === 1));
        const targetsOf = (t: number): number[] => {
          if (isOneScore) return [0];
          return m.isOneClassPerTree ? [t % m.classes] : all;
        };
        // What base values do to two scores is not clear, and does not compile.
        const base = m.classes > 2 ? m.base : isOneScore ? m.base?.slice(0, 1) : null;
        const operator = treeOperator(
          "TreeEnsembleClassifier",
          ["label", "y"],
          [
            ...ensembleAttributes(m.list, "class", targetsOf),
            ...attributes({ classlabels_int64s: all, post_transform: m.transform }),
            ...(base == null ? [] : [floats("base_values", base)]),
          ],
        );
        await expectSame(modelBytes([operator], 2), values);
      }),
      { numRuns: 2 * RUNS },
    );
  });

  it("sets of categories agree, written as a chain of EQ with one child", async () => {
    const chain = fc.record({
      feature: fc.nat(FEATURES - 1),
      members: fc.uniqueArray(point, { minLength: 1, maxLength: 12 }),
      unknownTrue: fc.boolean(),
      leaves: listOf(weight, 3),
      inner: split(["LEQ"]),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(chain, { minLength: 1, maxLength: 10 }), rows, async (chains, values) => {
        // The chain, then the child of all its true sides (a split with two leaves), then the leaf of the last false.
        const nodes = chains.flatMap(({ members, inner, leaves: _, ...rest }, t): Row[] => {
          const end = members.length;
          const next = (i: number): number => (i + 1 < end ? i + 1 : end + 3);
          return [
            ...members.map((value, i) => ({ ...rest, t, i, mode: "EQ", value, yes: end, no: next(i) })),
            { ...inner, t, i: end, yes: end + 1, no: end + 2 },
            ...[1, 2, 3].map((i) => ({ ...LEAF, t, i: end + i })),
          ];
        });
        const leaves = nodes.filter(({ mode }) => mode === "LEAF");
        const operator = treeOperator(
          "TreeEnsembleRegressor",
          ["y"],
          [
            ...nodeAttributes(nodes),
            ...attributes({
              n_targets: 1,
              target_treeids: leaves.map(({ t }) => t),
              target_nodeids: leaves.map(({ i }) => i),
              target_ids: leaves.map(() => 0),
            }),
            floats(
              "target_weights",
              chains.flatMap((one) => one.leaves),
            ),
          ],
        );
        await expectSame(modelBytes([operator], 2), values);
      }),
      { numRuns: RUNS },
    );
  });

  it("ensembles of opset 5 agree, with sets of members", async () => {
    const member = fc.record({
      feature: fc.nat(FEATURES - 1),
      mode: fc.nat(MODES.length),
      value: point,
      members: fc.uniqueArray(fc.nat(30), { minLength: 1, maxLength: 30 }),
      unknownTrue: fc.boolean(),
      weights: listOf(weight, 2),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 12 }), rows, async (splits, values) => {
        // Each split is the root of a tree, or the false side of the one before it.
        const isRoot = (i: number): boolean => i % 3 === 0;
        const isParent = (i: number): boolean => i + 1 < splits.length && !isRoot(i + 1);
        const all = [...splits.keys()];
        const sets = splits.filter(({ mode }) => mode === MODES.length).map(({ members }) => members);
        const operator = treeOperator(
          "TreeEnsemble",
          ["y"],
          [
            ...attributes({
              n_targets: 1,
              aggregate_function: 1,
              post_transform: 0,
              tree_roots: all.filter(isRoot),
              nodes_featureids: splits.map(({ feature }) => feature),
              nodes_truenodeids: all.map((i) => 2 * i),
              nodes_falsenodeids: all.map((i) => (isParent(i) ? i + 1 : 2 * i + 1)),
              nodes_trueleafs: all.map(() => 1),
              nodes_falseleafs: all.map((i) => (isParent(i) ? 0 : 1)),
              nodes_missing_value_tracks_true: splits.map(({ unknownTrue }) => Number(unknownTrue)),
              leaf_targetids: all.flatMap(() => [0, 0]),
            }),
            tensorAttribute(
              "nodes_modes",
              UINT8,
              splits.map(({ mode }) => mode),
            ),
            tensorAttribute(
              "nodes_splits",
              FLOAT,
              splits.map(({ value }) => value),
            ),
            tensorAttribute(
              "leaf_weights",
              FLOAT,
              splits.flatMap(({ weights }) => weights),
            ),
            // Sets are told apart by NaN.
            ...(sets.length === 0
              ? []
              : [
                  tensorAttribute(
                    "membership_values",
                    FLOAT,
                    sets.flatMap((set) => [...set, Number.NaN]),
                  ),
                ]),
          ],
        );
        await expectSame(modelBytes([operator], 2), values);
      }),
      { numRuns: RUNS },
    );
  });

  it("the operators behind the trees agree", async () => {
    const list = [0, 1, 2].map(
      (t): Tree => ({
        splits: [{ feature: t, mode: "LEQ", value: 0, unknownTrue: t === 0 }],
        leaves: [
          [0.3, -0.7, 1.5],
          [-0.2, 0.9, -2.5],
        ],
      }),
    );
    const regressor = treeOperator(
      "TreeEnsembleRegressor",
      ["0"],
      [...ensembleAttributes(list, "target", () => [0, 1, 2]), ...attributes({ n_targets: 3 })],
    );
    const constants = [
      tensor("two", FLOAT, [2], []),
      tensor("three", FLOAT, [1, -2, 0.5]),
      tensor("last", INT64, [-1], []),
      tensor("first", INT64, [0]),
      tensor("axis", INT64, [1]),
      tensor("flat", INT64, [-1]),
      tensor("pairs", INT64, [-1, 3]),
    ];
    /** "VALUE" stands for what the trees and the operators before gave. */
    type Behind = readonly [opType: string, inputs: readonly string[], attribute?: Attribute[]];
    const keeping: readonly Behind[] = [
      ["Identity", ["VALUE"]],
      ["Cast", ["VALUE"], attributes({ to: FLOAT })],
      ["Add", ["VALUE", "three"]],
      ["Sub", ["VALUE", "three"]],
      ["Sub", ["three", "VALUE"]],
      ["Mul", ["two", "VALUE"]],
      ["Reshape", ["VALUE", "pairs"]],
      ["Sigmoid", ["VALUE"]],
      ["Softmax", ["VALUE"], attributes({ axis: -1 })],
    ];
    const column: Behind = ["Gather", ["VALUE", "first"], attributes({ axis: 1 })];
    const flat: readonly (readonly Behind[])[] = [
      [["Gather", ["VALUE", "last"], attributes({ axis: 1 })]],
      [column, ["Squeeze", ["VALUE", "axis"]]],
      [column, ["Reshape", ["VALUE", "flat"]]],
    ];
    const values = [0, -1, 1, 0, 1, 1, 1, 0, Number.NaN, Number.NaN, -1, 0];
    const expectSameBehind = async (some: readonly Behind[], rank: 1 | 2): Promise<void> => {
      const behind = some.map(([opType, inputs, attribute = []], i): Operator => {
        const input = inputs.map((name) => (name === "VALUE" ? `${i}` : name));
        return { opType, input, output: [`${i + 1}`], attribute };
      });
      await expectSame(modelBytes([regressor, ...behind], rank, constants), values);
    };
    for (const one of keeping) await expectSameBehind([one], 2);
    for (const some of flat) await expectSameBehind([...keeping, ...some], 1);
  });
});
