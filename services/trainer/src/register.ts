import type { Verdict } from "@millrace/contracts";
import { featureNames, type LineDefinition } from "@millrace/lines";
import { signModel } from "@millrace/signing";
import type { Ports, Settings } from "./ports.ts";
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
 * Stores the model by digest, signs it and registers it with its verdict; a version that did not pass is registered too,
 * as evidence, and can never serve. Safe to repeat: the same run and model give the same version.
 */
export async function register(
  registration: Registration,
  { objects, registry, clock }: Pick<Ports, "objects" | "registry" | "clock">,
  { signingKey }: Pick<Settings, "signingKey">,
): Promise<Version> {
  const { line, winner, verdict } = registration;
  const artifactDigest = await objects.put(winner.model);
  const made = {
    line: line.name,
    recipe: winner.candidate.recipe,
    runId: registration.runId,
    datasetDigest: registration.datasetDigest,
    featureDigest: registration.featureDigest,
  };
  const bytes = winner.model.length;
  const predicate = {
    ...made,
    parentVersion: Number(registration.judgedAgainst),
    epoch: Number(registration.epoch),
  };
  const signable = { digest: artifactDigest, bytes, name: `${line.name}.onnx`, predicate };
  const { version } = await registry.registerVersion({
    version: {
      ...made,
      artifactDigest,
      artifactBytes: BigInt(bytes),
      featureNames: featureNames(line),
      epoch: registration.epoch,
      parentVersion: registration.judgedAgainst,
      signature: signingKey === undefined ? "" : signModel(signable, signingKey),
      registeredAtMs: BigInt(clock.now()),
      evidenceJson: JSON.stringify(verdict),
      passed: verdict.passed,
      trainedUntilMs: BigInt(registration.trainedUntilMs),
    },
  });
  if (version === undefined) throw new Error("the registry answered without the version");
  return version;
}
