import type { registryApi as api } from "@millrace/contracts";
import { featureNames, type LineDefinition } from "@millrace/lines";
import type { Clock } from "@millrace/runtime";
import { aliases, NOTHING_ASPIRED } from "@millrace/versions";
import type { Announcements } from "./announce.ts";
import { requireEpoch } from "./leases.ts";
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
  traceparentOf,
} from "./request.ts";
import type { LineRow, Store, Tables, VersionRow } from "./store.ts";
import { type RegistryHandlers, versionMessage } from "./wire.ts";

/** RegisterVersion and ListVersions. A version is immutable; its artifact is in the object store already. */
export function registerHandlers(ports: {
  readonly store: Store;
  readonly clock: Clock;
  readonly announcements: Announcements;
}): Pick<RegistryHandlers, "registerVersion" | "listVersions"> {
  const { store, clock, announcements } = ports;
  return {
    registerVersion: async (request, call) => {
      const given = versionOf(present("version", request.version));
      return await announcements.write(traceparentOf(call.traceparent), async (tables) => {
        const line = await lineOf(tables, given.line);
        await requireEpoch(tables, given.line, given.epoch);
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

function versionOf(version: api.Version): Omit<VersionRow, "version" | "registeredAtMs"> {
  const evidenceJson = jsonOf("evidence_json", version.evidenceJson);
  const evidence: unknown = evidenceJson === "" ? null : JSON.parse(evidenceJson);
  const verdict = (evidence as { readonly passed?: unknown } | null)?.passed ?? version.passed;
  if (verdict !== version.passed) {
    throw new Refusal(
      "invalidArgument",
      `passed is ${version.passed}, the evidence says ${JSON.stringify(verdict)}. Send the judge's verdict in both`,
    );
  }
  return {
    line: nameOf("line", version.line),
    artifactDigest: digestOf("artifact_digest", version.artifactDigest),
    artifactBytes: integerOf("artifact_bytes", version.artifactBytes, 1),
    recipe: identifierOf("recipe", version.recipe),
    featureDigest: digestOf("feature_digest", version.featureDigest),
    featureNames: version.featureNames,
    // A baseline is made of no dataset.
    datasetDigest: version.datasetDigest === "" ? "" : digestOf("dataset_digest", version.datasetDigest),
    runId: version.runId === "" ? "" : identifierOf("run_id", version.runId),
    epoch: integerOf("epoch", version.epoch, 1),
    parentVersion: integerOf("parent_version", version.parentVersion, 0),
    evidenceJson,
    passed: version.passed,
    trainedUntilMs: integerOf("trained_until_ms", version.trainedUntilMs, 0),
  };
}

/** Refuses a version of other features than the line's: its model could not score the line's vectors. */
export function fitsLine(version: Pick<VersionRow, "featureDigest" | "featureNames">, line: LineRow): void {
  if (version.featureDigest !== featureDigest(line)) {
    throw new Refusal(
      "failedPrecondition",
      `feature_digest ${version.featureDigest} is not that of ${line.name} revision ${line.revision}: the features ` +
        "were changed. Train on the present definition, or apply the former one again",
    );
  }
  const expected = featureNames(JSON.parse(line.definitionJson) as LineDefinition);
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
