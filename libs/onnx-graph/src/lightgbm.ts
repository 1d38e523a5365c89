import type { Tree, TreeEnsemble, TreeNode } from "./trees.ts";

/** The text is not a LightGBM model of the kind that converts; the message names the key. */
export class LightgbmFormatError extends Error {
  constructor(message: string) {
    super(`LightGBM model: ${message}`);
    this.name = "LightgbmFormatError";
  }
}

/**
 * Reads the text form of a LightGBM model (`LGBM_BoosterSaveModelToString`, version v4) with a binary objective and
 * numerical splits. Throws a LightgbmFormatError for anything else: categorical splits, linear leaves, random
 * forests, `zero_as_missing`.
 */
export function parseLightgbm(model: string): TreeEnsemble {
  const [head, ...sections] = model.split(/^(?=Tree=\d+$)/m);
  const header = keys(head as string);
  if (header.get("version") !== "v4")
    throw new LightgbmFormatError(`version ${header.get("version")} is not v4`);
  if (header.has("average_output"))
    throw new LightgbmFormatError("random forests (average_output) do not convert");
  const objective = /^binary sigmoid:(\S+)$/.exec(header.get("objective") ?? "");
  if (objective === null)
    throw new LightgbmFormatError(`objective "${header.get("objective")}" is not binary`);
  const slope = number("objective", objective[1] as string);
  return { bias: 0, trees: sections.map((section) => parseTree(keys(section), slope)) };
}

function parseTree(tree: ReadonlyMap<string, string>, slope: number): Tree {
  const list = (key: string): number[] =>
    (tree.get(key) ?? "")
      .split(" ")
      .filter((part) => part !== "")
      .map((part) => number(key, part));
  if (tree.get("num_cat") !== "0") throw new LightgbmFormatError("categorical splits do not convert");
  if (tree.get("is_linear") === "1") throw new LightgbmFormatError("linear leaves do not convert");
  const leaves: TreeNode[] = list("leaf_value").map((value) => ({ kind: "leaf", value: value * slope }));
  const [feature, threshold, decision, left, right] = [
    list("split_feature"),
    list("threshold"),
    list("decision_type"),
    list("left_child"),
    list("right_child"),
  ];
  const splits = Math.max(0, leaves.length - 1);
  if (leaves.length === 0 || [feature, threshold, decision, left, right].some((l) => l.length < splits)) {
    throw new LightgbmFormatError(`Tree=${tree.get("Tree")} is incomplete`);
  }
  // A child is a split from 0 on, or a leaf: -1 is the first, -2 the second.
  const position = (child: number): number => (child >= 0 ? child : splits + ~child);
  const nodes = Array.from({ length: splits }, (_, i): TreeNode => {
    const at = threshold[i] as number;
    return {
      kind: "split",
      feature: feature[i] as number,
      threshold: at,
      left: position(left[i] as number),
      right: position(right[i] as number),
      unknownLeft: unknownLeft(decision[i] as number, at),
    };
  });
  return [...nodes, ...leaves];
}

/** `decision_type`: bit 0 categorical, bit 1 the default goes left, bits 2 and 3 what counts as missing. */
function unknownLeft(decision: number, threshold: number): boolean {
  switch ((decision >> 2) & 3) {
    case 0:
      // No value was missing in training: LightGBM reads NaN as 0.
      return 0 <= threshold;
    case 2:
      return (decision & 2) !== 0;
    default:
      throw new LightgbmFormatError("zero_as_missing does not convert");
  }
}

function keys(section: string): Map<string, string> {
  return new Map(
    section.split("\n").map((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [line.trim(), ""] : [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
}

function number(key: string, text: string): number {
  // C writes a split of the unknown from all known values as "<= inf".
  const value = text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
  if (text === "" || Number.isNaN(value)) throw new LightgbmFormatError(`${key}: "${text}" is not a number`);
  return value;
}
