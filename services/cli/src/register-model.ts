import type { registryApi, Verdict } from "@millrace/contracts";
import { type LineDefinition, storedLine } from "@millrace/lines";
import { signModel } from "@millrace/signing";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";
import type { Clients } from "./mesh.ts";
import { count, shortDigest } from "./text.ts";

/** The applied line of a name, as it was stored. Throws a Failure when there is none of the name. */
export async function appliedLine(
  { registry }: Pick<Clients, "registry">,
  name: string,
): Promise<LineDefinition> {
  const found = (await registry.listLines({})).lines.find((line) => line.name === name);
  if (found !== undefined) return storedLine(found.definitionJson);
  throw new Failure(`there is no line "${name}"`, "Apply it first: `npx millrace apply lines/...`.");
}

/** A model that an operator answers for. */
export interface OperatorModel {
  readonly bytes: Uint8Array;
  /** For people, in the signature. */
  readonly name: string;
  /** Its line, recipe, parent, features, and what it learnt from. */
  readonly made: Pick<
    registryApi.Version,
    | "line"
    | "recipe"
    | "parentVersion"
    | "featureDigest"
    | "featureNames"
    | "datasetDigest"
    | "trainedUntilMs"
  >;
  readonly evidence: Verdict;
}

/** Stores the model by digest, signs it with the mesh's key and registers it. The same model is the same version. */
export async function registerModel(
  { local }: Context,
  { registry, objects }: Pick<Clients, "registry" | "objects">,
  { bytes, name, made, evidence }: OperatorModel,
): Promise<registryApi.Version> {
  const digest = await objects.put(bytes);
  const { line, recipe, featureDigest, datasetDigest } = made;
  const parentVersion = Number(made.parentVersion);
  const predicate = { line, recipe, runId: "", datasetDigest, featureDigest, parentVersion, epoch: 0 };
  const key = await local.signingKey();
  const { version } = await registry.registerVersion({
    version: {
      ...made,
      artifactDigest: digest,
      artifactBytes: BigInt(bytes.length),
      evidenceJson: JSON.stringify(evidence),
      passed: evidence.passed,
      signature: key === null ? "" : signModel({ digest, bytes: bytes.length, name, predicate }, key),
    },
  });
  if (version === undefined) throw new Error("the registry answered without the version");
  return version;
}

/** What serves a line, as far as a change of it needs to know. */
export interface Served {
  readonly champion: bigint;
  readonly generation: bigint;
}

export async function servedOn({ registry }: Pick<Clients, "registry">, line: string): Promise<Served> {
  const [set] = (await registry.getAspiredSet({ line })).sets;
  const champion = set?.models.find(({ role }) => role === "champion")?.version ?? 0n;
  return { champion, generation: set?.generation ?? 0n };
}

/** Makes a version champion of the set that was read. Answers the new generation. */
export async function promoteVersion(
  { registry }: Pick<Clients, "registry">,
  { line, version }: Pick<registryApi.Version, "line" | "version">,
  { generation }: Served,
  reason: string,
): Promise<number> {
  const { aspired } = await registry.promote({ line, version, expectedGeneration: generation, reason });
  return Number(aspired?.generation ?? 0n);
}

/** What was registered, for machines; `generation`: null when it was not promoted. */
export function registeredJson(version: registryApi.Version, generation: number | null): object {
  return {
    line: version.line,
    version: Number(version.version),
    artifactDigest: version.artifactDigest,
    artifactBytes: Number(version.artifactBytes),
    signed: version.signature !== "",
    promoted: generation !== null,
    generation,
  };
}

/** The same for people, and what comes next. */
export function registeredText(version: registryApi.Version, generation: number | null): string {
  const { line, version: number, artifactBytes, artifactDigest, signature, passed } = version;
  const signed = signature === "" ? "unsigned" : "signed";
  const next = passed
    ? `it does not serve yet: \`npx millrace rollout start ${line} ${number}\`, or add it with --promote`
    : "it did not pass, and can never serve";
  return [
    `${line}: version ${number}, ${count(Number(artifactBytes))} bytes, digest ${shortDigest(artifactDigest)}, ${signed}`,
    generation === null ? next : `it is champion (generation ${generation}); the inference nodes swap now`,
  ].join("\n");
}

const NO_QUALITY = { rows: 0, positives: 0, logLoss: 0, brier: 0, averagePrecision: 0, auc: 0 };

/** A verdict on a model that no labels were held against: only these gates were checked. */
export function unjudged(reason: string, gates: Verdict["gates"]): Verdict {
  return {
    passed: gates.every(({ passed }) => passed),
    reason,
    candidate: NO_QUALITY,
    champion: null,
    baseRate: NO_QUALITY,
    gates,
    heldOut: { fromMs: 0, untilMs: 0, rows: 0 },
    candidates: [],
  };
}
