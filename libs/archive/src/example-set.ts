import { featureNames, type LearningLine } from "@millrace/lines";
import type { ExampleOptions } from "./decide-examples.ts";
import { type ExampleColumns, gatherExamples } from "./example-columns.ts";
import { inLogOrder, jobFiles, type ReplaySource, replayAll } from "./training-set.ts";

/** Examples as the stream decided them. */
export interface ExampleSet {
  /** Names of a vector's values, in model order. */
  readonly names: readonly string[];
  /** In the order of their event times, then of their ids. */
  readonly examples: ExampleColumns;
  /** Events replayed. */
  readonly events: number;
}

/**
 * Gives the examples that the stream decided, out of the archive of its events: of each event the newest one of those
 * that are asked for, with the values that were served. The whole archive is replayed. Where silence means no, events
 * whose wait was not over are left out. `features` is the digest of the feature definition. Throws a RangeError for
 * gaps in the archive, and the signal's reason.
 */
export async function exampleSet(
  line: LearningLine,
  features: string,
  options: ExampleOptions,
  source: ReplaySource,
): Promise<ExampleSet> {
  const partitions = [...new Set(source.blocks.map(({ partition }) => partition))].sort((a, b) => a - b);
  const jobs = partitions.map((partition) => {
    const blocks = inLogOrder(source.blocks, partition);
    return { kind: "examples", line, features, options, blocks, ...jobFiles(blocks, source) } as const;
  });
  const { results, events } = await replayAll(jobs, source);
  const sets = results.flatMap((result) => (result.kind === "examples" ? [result.examples] : []));
  const rows = sets.flatMap(({ ids }, set) => ids.map((_, row): readonly [number, number] => [set, row]));
  const timeOf = ([set, row]: readonly [number, number]): number => sets[set]?.times[row] as number;
  const idOf = ([set, row]: readonly [number, number]): string => sets[set]?.ids[row] as string;
  rows.sort((a, b) => timeOf(a) - timeOf(b) || (idOf(a) < idOf(b) ? -1 : 1));
  const names = featureNames(line);
  return { names, examples: gatherExamples(sets, rows, names.length), events };
}
