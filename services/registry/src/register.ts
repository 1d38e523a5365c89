import type { registryApi as api } from "@millrace/contracts";
import { featureNames, storedLine } from "@millrace/lines";
import type { Clock } from "@millrace/runtime";
import { type ModelProvenance, verifyModel } from "@millrace/signing";
import { aliases, NOTHING_ASPIRED, OPERATOR_RECIPES, QUANTISED_RECIPE } from "@millrace/versions";
import type { Announcements } from "./announce.ts";
import { OPERATOR_EPOCH, requireEpochOrOperator } from "./leases.ts";
import { featureDigest } from "./lines.ts";
import {
  digestOf,
  identifierOf,
  integerOf,
  jsonOf,
  lineOf,
  nameOf,
  present,
  Refusal,
  textOf,
  traceparentOf,
} from "./request.ts";
import type { LineRow, Store, Tables, VersionRow } from "./store.ts";
import { type RegistryHandlers, versionMessage } from "./wire.ts";

/**
 * RegisterVersion and ListVersions. A version is immutable; its artifact is in the object store already, and signed by one
 * of the trusted keys, if any are.
 */
export function registerHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
  readonly announcements: Announcements;
  readonly trustedKeys: readonly string[];
}): Pick<RegistryHandlers, "registerVersion" | "listVersions"> {
  const { store, clock, announcements, trustedKeys } = ports;
  return {
    registerVersion: async (request, call) => {
      const given = versionOf(present("version", request.version));
      if (trustedKeys.length > 0) requireSignature(given, trustedKeys);
      return await announcements.write(traceparentOf(call.traceparent), async (tables) => {
        const line = await lineOf(tables, given.line);
        await requireEpochOrOperator(tables, given.line, given.epoch);
        const known = await tables.versionOfRun(given.line, given.runId, given.artifactDigest);
        if (known !== null) return { result: { version: versionMessage(known) }, change: null };
        fitsLine(given, line);
        await hasParents(tables, given);
        const newest = (await tables.versions(given.line)).at(-1);
        const version: VersionRow = {
          ...given,
          version: (newest?.version ?? 0) + 1,
          registeredAtMs: clock.now(),
        };
        await tables.addVersion(version);
        return {
          result: { version: versionMessage(version) },
          change: {
            line: version.line,
            kind: "registered",
            version: version.version,
            generation: (await tables.aspired(version.line))?.generation ?? 0,
            reason: `${version.recipe}, ${version.passed ? "passed" : "did not pass"}`,
            atMs: version.registeredAtMs,
          },
        };
      });
    },

    listVersions: (request) =>
      store.transaction(async (tables) => {
        const line = await lineOf(tables, request.line);
        const versions = await tables.versions(line.name);
        const names = aliases(versions, (await tables.aspired(line.name)) ?? NOTHING_ASPIRED);
        return {
          versions: versions.map(versionMessage),
          aliases: Object.fromEntries(
            Object.entries(names).map(([alias, version]) => [alias, BigInt(version)]),
          ),
        };
      }),
  };
}

type GivenVersion = Omit<VersionRow, "version" | "registeredAtMs">;

function versionOf(version: api.Version): GivenVersion {
  const evidenceJson = jsonOf("evidence_json", version.evidenceJson);
  const evidence: unknown = evidenceJson === "" ? null : JSON.parse(evidenceJson);
  const verdict = (evidence as { readonly passed?: unknown } | null)?.passed ?? version.passed;
  if (verdict !== version.passed) {
    throw new Refusal(
      "invalidArgument",
      `passed is ${version.passed}, the evidence says ${JSON.stringify(verdict)}. Send the judge's verdict in both`,
    );
  }
  const epoch = integerOf("epoch", version.epoch, OPERATOR_EPOCH);
  if (epoch === OPERATOR_EPOCH && !OPERATOR_RECIPES.includes(version.recipe)) {
    throw new Refusal(
      "invalidArgument",
      `epoch 0 is an operator's, whose models have the recipe ${OPERATOR_RECIPES.map((name) => `"${name}"`).join(" or ")}. ` +
        "Acquire the lease to register others",
    );
  }
  if (version.recipe === QUANTISED_RECIPE && version.parentVersion === 0n) {
    throw new Refusal("invalidArgument", "parent_version: a quantised version is made of one. Name it");
  }
  return {
    line: nameOf("line", version.line),
    artifactDigest: digestOf("artifact_digest", version.artifactDigest),
    artifactBytes: integerOf("artifact_bytes", version.artifactBytes, 1),
    recipe: identifierOf("recipe", version.recipe),
    // A line without streams has no features.
    featureDigest: version.featureDigest === "" ? "" : digestOf("feature_digest", version.featureDigest),
    featureNames: version.featureNames,
    // A baseline is made of no dataset.
    datasetDigest: version.datasetDigest === "" ? "" : digestOf("dataset_digest", version.datasetDigest),
    runId: version.runId === "" ? "" : identifierOf("run_id", version.runId),
    epoch,
    parentVersion: integerOf("parent_version", version.parentVersion, 0),
    evidenceJson,
    passed: version.passed,
    trainedUntilMs: integerOf("trained_until_ms", version.trainedUntilMs, 0),
    signature: textOf("signature", version.signature),
  };
}

/** Refuses a version that no trusted key has signed, or whose signature was made for another purpose. */
function requireSignature(version: GivenVersion, trustedKeys: readonly string[]): void {
  const remedy = "Sign the model with a key that MILLRACE_TRUSTED_KEYS of the registry names";
  if (version.signature === "") {
    throw new Refusal("failedPrecondition", `signature is missing. ${remedy}`);
  }
  const verified = verifyModel(version.signature, version.artifactDigest, trustedKeys);
  if (!verified.ok) throw new Refusal("failedPrecondition", `signature: ${verified.reason}. ${remedy}`);
  const registered: ModelProvenance = version;
  for (const [field, signed] of Object.entries(verified.predicate)) {
    const given = registered[field as keyof ModelProvenance];
    if (given === signed) continue;
    throw new Refusal(
      "failedPrecondition",
      `signature: it was made for ${field} ${JSON.stringify(signed)}, not ${JSON.stringify(given)}. ${remedy}`,
    );
  }
}

/** Refuses a version of other features than the line's: its model could not score the line's vectors. */
export function fitsLine(version: Pick<VersionRow, "featureDigest" | "featureNames">, line: LineRow): void {
  if (version.featureDigest !== featureDigest(line)) {
    throw new Refusal(
      "failedPrecondition",
      `feature_digest ${version.featureDigest || "(none)"} is not that of ${line.name} revision ${line.revision}: the features ` +
        "were changed. Train on the present definition, or apply the former one again",
    );
  }
  const expected = featureNames(storedLine(line.definitionJson));
  if (expected.join() !== version.featureNames.join()) {
    throw new Refusal("invalidArgument", `feature_names are not the line's. Send: ${expected.join(", ")}`);
  }
}

async function hasParents(
  tables: Tables,
  { line, runId, parentVersion }: Pick<VersionRow, "line" | "runId" | "parentVersion">,
): Promise<void> {
  if (runId !== "" && (await tables.run(runId))?.line !== line) {
    throw new Refusal("notFound", `run_id: ${line} has no run ${runId}. Add it first`);
  }
  if (parentVersion !== 0 && (await tables.version(line, parentVersion)) === null) {
    throw new Refusal("notFound", `parent_version: ${line} has no version ${parentVersion}`);
  }
}
