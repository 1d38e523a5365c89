import { HALF_LIVES } from "./algebra/decay.ts";
import type { FeaturePlan, LevelPlan, StreamPlan } from "./feature-plan.ts";

/**
 * How far back in event time an event can lie that still counts in a vector, ms: what state must be built from. The
 * longest window or 64 half-lives, and by how much events and vectors may be late.
 */
export function featuresReachMs({ tables, streams, predict }: FeaturePlan): number {
  const asked = streams[predict] as StreamPlan;
  return tables.reduce((reach, { levels, stream }) => {
    const late = asked.lateMaxMs + (streams[stream] as StreamPlan).lateMaxMs;
    return Math.max(reach, late + Math.max(0, ...levels.map(levelReachMs)));
  }, 0);
}

function levelReachMs({ paneMs, windows, decays }: LevelPlan): number {
  const halfLifeMs = decays.reduce((longest, decay) => Math.max(longest, decay.halfLifeMs), 0);
  return Math.max((windows.at(-1) ?? 0) * paneMs, HALF_LIVES * halfLifeMs) + paneMs;
}
