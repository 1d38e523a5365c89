import { type AspiredModels, championOf, type Role } from "./aspired.ts";

/** What an inference node has of one line. */
export interface NodeModels {
  /** Generation of the newest aspired set that the node has acted on; 0 at first. */
  readonly generation: number;
  /** Versions that can answer now. */
  readonly ready: readonly number[];
  /** Versions being loaded. A load that fails leaves this list, and the next plan asks for it again. */
  readonly loading: readonly number[];
  /** The version that answers; null when none does. It is one of `ready`. */
  readonly champion: number | null;
}

/** What the node does now. The next snapshot gives the next plan. */
export interface NodePlan {
  /** The generation that the node acts on from now. */
  readonly generation: number;
  /** Versions to begin loading, the champion first. */
  readonly load: readonly number[];
  /** The version that shall answer, those that answer a share, and those that only score; all are ready. */
  readonly champion: number | null;
  readonly challengers: readonly number[];
  readonly shadows: readonly number[];
  /** Ready versions to drain and unload, after the switch to `champion`. */
  readonly drop: readonly number[];
  /** True when nothing is left to do for this generation once the switch is made. */
  readonly settled: boolean;
}

/**
 * Decides what a node does about an aspired set. The set states everything that shall be served, so that a lost,
 * late or repeated announcement does no harm; one of an older generation is ignored (null). The present champion
 * answers, whether aspired or not, until the aspired one is ready (V5).
 */
export function planNode(node: NodeModels, aspired: AspiredModels): NodePlan | null {
  if (aspired.generation < node.generation) return null;
  const wanted = aspired.models.map((model) => model.version);
  const wantedChampion = championOf(aspired);
  const isReady = (version: number): boolean => node.ready.includes(version);

  const champion = wantedChampion !== null && isReady(wantedChampion) ? wantedChampion : node.champion;
  const beside = (role: Role): number[] =>
    aspired.models
      .filter((model) => model.role === role && isReady(model.version) && model.version !== champion)
      .map((model) => model.version);
  return {
    generation: aspired.generation,
    load: wanted.filter((version) => !isReady(version) && !node.loading.includes(version)),
    champion,
    challengers: beside("challenger"),
    shadows: beside("shadow"),
    drop: node.ready.filter((version) => !wanted.includes(version) && version !== champion),
    settled: wanted.every(isReady),
  };
}
