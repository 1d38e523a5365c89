/**
 * The rules of the layers that no other checker knows. Each function answers what is wrong in a tree of the
 * repository, one line per fault; the planted faults prove that they do.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readJson, readWorkspaces, sourceFiles } from "./repository.ts";

/** Layers without Node, clock, chance and environment. */
const PURE_TAGS = ["contract", "pure"];

/** Vendors' clients, and the packages that may declare them besides the tests. turbo finds what is not declared. */
const VENDORS: readonly (readonly [client: RegExp, ...packages: readonly string[]])[] = [
  [/^kafkajs$/, "@millrace/kafka", "@millrace/line-flights"],
  [/^minio$/, "@millrace/objects"],
  [/^@nats-io\//, "@millrace/nats"],
  [/^onnxruntime-/, "@millrace/onnx"],
  [/^@duckdb\//, "@millrace/parquet"],
  [/^@grpc\//, "@millrace/client", "@millrace/rpc"],
  [/^(protobufjs|ajv|avsc)$/, "@millrace/schemas"],
  [/^koffi$/, "@millrace/trainer"],
];

/** Each package has one layer, and one that turbo.json knows: turbo does not miss the tag of what nobody imports. */
export function tagFaults(root: string): string[] {
  const { boundaries } = readJson(join(root, "turbo.json")) as { boundaries: { tags: object } };
  const known = Object.keys(boundaries.tags);
  return readWorkspaces(root)
    .filter(({ tags }) => tags.length !== 1 || !known.includes(tags[0] as string))
    .map(
      ({ folder, tags }) => `${folder}: tags are [${tags.join(", ")}]: one of ${known.join(", ")} expected`,
    );
}

/** A package is entered by its front door only: a library's index.ts, a service's service.ts. */
export function exportFaults(root: string): string[] {
  return readWorkspaces(root)
    .filter(({ tags, manifest }) => {
      const keys = Object.keys(manifest.exports ?? {});
      if (tags[0] === "test") return keys.length > 0;
      return tags[0] === "line" ? !keys.includes(".") : keys.join() !== ".";
    })
    .map(({ folder, manifest }) => `${folder}: exports are ${JSON.stringify(manifest.exports)}`);
}

/** A vendor's client is declared by its one adapter. */
export function vendorFaults(root: string): string[] {
  return readWorkspaces(root)
    .filter(({ tags }) => tags[0] !== "test")
    .flatMap(({ folder, manifest }) =>
      Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).flatMap((dependency) => {
        const vendor = VENDORS.find(([client]) => client.test(dependency));
        if (vendor === undefined || vendor.includes(manifest.name)) return [];
        return [`${folder}: ${dependency} belongs to ${vendor.slice(1).join(" and ")}`];
      }),
    );
}

/** Pure code never asks what time it is: oxlint sees `Date.now()`, not `new Date()`. */
export function clockFaults(root: string): string[] {
  const folders = pureFolders(root);
  return sourceFiles(root, ...folders)
    .filter((file) => /\bnew Date\(\s*\)|\bDate\(\s*\)/.test(readFileSync(join(root, file), "utf8")))
    .map((file) => `${file}: pure code takes the time as an argument`);
}

/** The list of pure packages in .oxlintrc.json is that of the tags. */
export function pureListFaults(root: string): string[] {
  const { overrides } = readJson(join(root, ".oxlintrc.json")) as {
    overrides: { files: string[]; rules: Record<string, unknown> }[];
  };
  const pure = overrides.find(({ rules }) => rules["import/no-nodejs-modules"] === "error");
  const names = pureFolders(root).map((folder) => folder.slice("libs/".length));
  const expected = `libs/{${names.join(",")}}/src/**/*.ts`;
  return pure?.files.join() === expected ? [] : [`.oxlintrc.json: the pure packages are ${expected}`];
}

function pureFolders(root: string): readonly string[] {
  return readWorkspaces(root)
    .filter(({ tags }) => PURE_TAGS.includes(tags[0] as string))
    .map(({ folder }) => folder);
}
