import { execFileSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** The repository's root folder. */
export const ROOT: string = join(import.meta.dirname, "../..");

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** One package of the repository. */
export interface Workspace {
  /** Relative to the root, for example `libs/kafka`. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** Its layers by its turbo.json; one, if all is well. */
  readonly tags: readonly string[];
}

/** A JSON file, comments allowed on lines of their own. */
export function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, "utf8").replaceAll(/^\s*\/\/.*$/gm, ""));
}

/** All packages of a tree of the repository, by folder. */
export function readWorkspaces(root: string): readonly Workspace[] {
  const { workspaces } = readJson(join(root, "package.json")) as { workspaces: string[] };
  return globSync(
    workspaces.map((pattern) => `${pattern}/package.json`),
    { cwd: root },
  )
    .sort()
    .map((file) => {
      const folder = file.slice(0, -"/package.json".length);
      const [turbo] = globSync(`${folder}/turbo.json`, { cwd: root });
      const tags = turbo === undefined ? [] : (readJson(join(root, turbo)) as { tags?: string[] }).tags;
      return { folder, manifest: readJson(join(root, file)) as Manifest, tags: tags ?? [] };
    });
}

/** Our TypeScript outside of tests, relative to the root; generated code left out. */
export function sourceFiles(root: string, ...folders: readonly string[]): readonly string[] {
  return globSync(
    folders.map((folder) => `${folder}/**/*.ts`),
    { cwd: root, exclude: (name) => ["node_modules", "gen"].includes(basename(name)) },
  )
    .filter((file) => !file.endsWith(".test.ts"))
    .sort();
}

/** Files under version control or about to be, relative to the root. */
export function trackedFiles(): readonly string[] {
  const list = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return list.split("\0").filter((file) => file !== "");
}
