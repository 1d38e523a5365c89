import type { RolloutPolicy } from "@millrace/lines";
import type { Ports } from "./ports.ts";
import { isTrained, type Serving, type ServingReader, type Version } from "./serving.ts";

export type Promotion =
  | { readonly state: "promoted" | "rolling-out" }
  | { readonly state: "rejected"; readonly reason: string };

/**
 * Makes the version champion, or, where the line asks for it, begins its rollout; by compare-and-set on the generation.
 * When somebody else changes the aspired set meanwhile it reads again: the same champion means try again, another one
 * means that the verdict is about a version of the past. Safe to repeat.
 */
export async function promote(
  version: Version,
  epoch: bigint,
  reason: string,
  policy: RolloutPolicy,
  serving: ServingReader,
  { registry, codeOf }: Pick<Ports, "registry" | "codeOf">,
): Promise<Promotion> {
  const { line, version: number } = version;
  for (;;) {
    const served = await serving.read();
    const { generation, championVersion, rollout } = served;
    if (championVersion === number) return { state: "promoted" };
    if (rollout?.version === number) return { state: "rolling-out" };
    if (championVersion !== version.parentVersion) {
      return {
        state: "rejected",
        reason: `version ${number} was judged against version ${version.parentVersion}, but version ${championVersion} serves meanwhile`,
      };
    }
    const change = { line, version: number, expectedGeneration: generation, epoch, reason };
    try {
      if (isDirect(policy, served)) {
        await registry.promote(change);
        return { state: "promoted" };
      }
      if (rollout !== null) {
        return { state: "rejected", reason: `version ${rollout.version} is being rolled out meanwhile` };
      }
      if (await wasRolledOut(version, registry)) return { state: "rolling-out" };
      const { strategy, by, share } = policy;
      await registry.startRollout({ ...change, strategy, by, share });
      return { state: "rolling-out" };
    } catch (error) {
      if (codeOf(error) !== "aborted") throw error;
    }
  }
}

/** A constant, and a model that does not know these features, are no rivals: nothing is to be learnt from a trial. */
function isDirect({ strategy }: RolloutPolicy, { champion }: Serving): boolean {
  return strategy === "direct" || champion === null || !isTrained(champion);
}

/** Whether its rollout was begun before this process started anew; it may be over by now. */
async function wasRolledOut({ line, version }: Version, registry: Ports["registry"]): Promise<boolean> {
  const { sets } = await registry.getHistory({ line, atMs: 0n });
  return sets.some((set) => set.rollout?.version === version);
}
