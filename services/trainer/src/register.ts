import type { Verdict } from "@millrace/contracts";
import { featureNames, type LineDefinition } from "@millrace/lines";
import type { Ports } from "./ports.ts";
import type { Version } from "./serving.ts";
import type { TrainedCandidate } from "./train.ts";

export interface Registration {
  readonly line: LineDefinition;
  readonly featureDigest: string;
  readonly epoch: bigint;
  readonly runId: string;
  readonly winner: TrainedCandidate;
  readonly verdict: Verdict;
  /** Empty when there is no dataset (the baseline). */
  readonly datasetDigest: string;
  /** Event-time end of what it learnt from; 0 when it learnt nothing. */
  readonly trainedUntilMs: number;
  /** The version that served when it was judged; 0: none. */
  readonly judgedAgainst: bigint;
}

/**
 * Stores the model by digest and registers it with its verdict; a version that did not pass is registered too, as
 * evidence, and can never serve. Safe to repeat: the same run and model give the same version.
 */
export async function register(
  registration: Registration,
  { objects, registry, clock }: Pick<Ports, "objects" | "registry" | "clock">,
): Promise<Version> {
  const { line, winner, verdict } = registration;
  const artifactDigest = await objects.put(winner.model);
  const { version } = await registry.registerVersion({
    version: {
      line: line.name,
      artifactDigest,
      artifactBytes: BigInt(winner.model.length),
      recipe: winner.candidate.recipe,
      featureDigest: registration.featureDigest,
      featureNames: featureNames(line),
      datasetDigest: registration.datasetDigest,
      runId: registration.runId,
      epoch: registration.epoch,
      parentVersion: registration.judgedAgainst,
      registeredAtMs: BigInt(clock.now()),
      evidenceJson: JSON.stringify(verdict),
      passed: verdict.passed,
      trainedUntilMs: BigInt(registration.trainedUntilMs),
    },
  });
  if (version === undefined) throw new Error("the registry answered without the version");
  return version;
}
