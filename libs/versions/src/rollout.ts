import {
  type Aspired,
  type Changed,
  championOf,
  changed,
  movedOn,
  type Rollout,
  type VersionFacts,
} from "./aspired.ts";

/** Most that a canary may be given: beyond it the champion is the smaller part. */
const CANARY_SHARE_MAX = 0.5;

/** A change, or why it may not be made, with the remedy. */
export type RolloutChanged = Changed | { readonly outcome: "refused"; readonly reason: string };

/** Makes a version challenger: it answers a share of the requests beside the champion, who stays. */
export function startRollout(
  current: Aspired,
  change: {
    readonly challenger: VersionFacts;
    readonly plan: Omit<Rollout, "version">;
    readonly expectedGeneration: number;
  },
  versions: readonly VersionFacts[],
): RolloutChanged {
  const { challenger, plan, expectedGeneration } = change;
  const moved = movedOn(current, expectedGeneration);
  if (moved !== null) return moved;
  const champion = championFacts(current, versions);
  if (champion === null) return refused("nothing serves yet: promote the version instead");
  if (current.rollout !== null) {
    return refused(`version ${current.rollout.version} is being rolled out: end that rollout first`);
  }
  if (champion.version === challenger.version) {
    return refused(`version ${challenger.version} is champion: it answers every request already`);
  }
  if (!challenger.passed) {
    return refused(`version ${challenger.version} did not pass its verdict: choose one that did`);
  }
  if (champion.featureDigest !== challenger.featureDigest) {
    return refused(
      `version ${challenger.version} takes other features than champion ${champion.version}, so that no request could be answered by either: promote it instead`,
    );
  }
  return wrongShare(plan) ?? changed(current, champion, { ...plan, version: challenger.version }, versions);
}

/** Gives the challenger another share. */
export function shareRollout(
  current: Aspired,
  { share, expectedGeneration }: { readonly share: number; readonly expectedGeneration: number },
  versions: readonly VersionFacts[],
): RolloutChanged {
  const moved = movedOn(current, expectedGeneration);
  if (moved !== null) return moved;
  const champion = championFacts(current, versions);
  if (champion === null || current.rollout === null) return NO_ROLLOUT;
  const rollout = { ...current.rollout, share };
  return wrongShare(rollout) ?? changed(current, champion, rollout, versions);
}

/** Ends the rollout: the challenger becomes champion, or the champion answers alone again. */
export function endRollout(
  current: Aspired,
  change: { readonly outcome: "promote" | "rollback"; readonly expectedGeneration: number },
  versions: readonly VersionFacts[],
): RolloutChanged {
  const moved = movedOn(current, change.expectedGeneration);
  if (moved !== null) return moved;
  const { rollout } = current;
  const number = change.outcome === "promote" ? rollout?.version : championOf(current);
  const champion = versions.find(({ version }) => version === number);
  if (rollout === null || champion === undefined) return NO_ROLLOUT;
  return changed(current, champion, null, versions);
}

/** The version's share of the requests, 0..1: the champion has what the challenger leaves, a shadow has none. */
export function shareOf({ models, rollout }: Aspired, version: number): number {
  const given = rollout?.share ?? 0;
  switch (models.find((model) => model.version === version)?.role) {
    case "champion":
      return 1 - given;
    case "challenger":
      return given;
    default:
      return 0;
  }
}

const refused = (reason: string): RolloutChanged => ({ outcome: "refused", reason });

const NO_ROLLOUT = refused("no rollout runs: start one first");

/** null: the share is one that the strategy may give. */
function wrongShare({ share, strategy }: Pick<Rollout, "share" | "strategy">): RolloutChanged | null {
  const isFit = share > 0 && (strategy === "canary" ? share <= CANARY_SHARE_MAX : share < 1);
  if (isFit) return null;
  const range = strategy === "canary" ? `at most ${CANARY_SHARE_MAX}` : "below 1";
  return refused(`share ${share} is not one of ${strategy}: give a number above 0 and ${range}`);
}

function championFacts(current: Aspired, versions: readonly VersionFacts[]): VersionFacts | null {
  const champion = championOf(current);
  return versions.find(({ version }) => version === champion) ?? null;
}
