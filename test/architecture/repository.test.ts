import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "../checkers.ts";
import { ROOT, readJson, trackedFiles } from "./repository.ts";

const files = trackedFiles().filter((file) => existsSync(join(ROOT, file)));
const text = (file: string): string => readFileSync(join(ROOT, file), "utf8");
/** What people read and follow: documents, and the messages in the code. */
const readable = files.filter(
  (file) => /\.(md|ts|mjs)$/.test(file) && !/\/gen\/|\.test\.ts$|^test\/architecture\//.test(file),
);

/** Every place that `pattern` matches, with what its first group holds. */
function mentions(pattern: RegExp): readonly (readonly [mention: string, file: string])[] {
  return readable.flatMap((file) =>
    [...text(file).matchAll(pattern)].map(([, mention]) => [mention as string, file] as const),
  );
}

describe("repository", () => {
  it("leaves nothing for later", () => {
    // Spelt so that this file does not contain the words.
    const later = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X".repeat(3)].join("|")})\\b`);
    const source = files.filter((file) => /\.(md|ts|mjs|json|proto|ya?ml)$/.test(file));
    expect(source.filter((file) => later.test(text(file)))).toEqual([]);
  });

  it("has a lock file without download addresses, so that every registry serves it", () => {
    expect(text("package-lock.json")).not.toMatch(/"resolved": "https?:/);
  });

  it("pins every dependency to one version", () => {
    const manifests = files.filter((file) => /(^|\/)package\.json$/.test(file));
    const loose = manifests.flatMap((file) => {
      const { dependencies, devDependencies, optionalDependencies } = readJson(join(ROOT, file)) as Record<
        string,
        Record<string, string> | undefined
      >;
      return Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
        .filter(([name, version]) =>
          name.startsWith("@millrace/") ? version !== "*" : !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
        )
        .map(([name, version]) => `${file}: ${name} ${version}`);
    });
    expect(loose).toEqual([]);
  });

  it("mentions only npm scripts that exist", () => {
    const { scripts } = readJson(join(ROOT, "package.json")) as { scripts: Record<string, string> };
    const named = [...mentions(/\bnpm run ([\w:-]+)/g), ...mentions(/\bnpm (start|test)\b/g)];
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter(([name]) => !(name in scripts))).toEqual([]);
  });

  it("mentions only claims that exist", () => {
    const named = mentions(/\bnpm run prove -- ([a-z][\w-]*)/g);
    expect(named.filter(([name]) => !existsSync(join(ROOT, `load-tests/claims/${name}.ts`)))).toEqual([]);
  });

  it("mentions only commands of the CLI that exist", async () => {
    const help = async (...command: string[]): Promise<readonly string[]> => {
      const { output } = await run(["node", "services/cli/src/main.ts", ...command, "--help"], { cwd: ROOT });
      const list = /^Commands:\n((?: .*\n)+)/m.exec(output)?.[1] ?? "";
      return [...list.matchAll(/^ {2}(\w[\w-]*)/gm)].map(([, name]) => name as string);
    };
    const commands = await help();
    expect(commands).toContain("status");
    const named = mentions(/\bnpx millrace ([a-z][\w-]*)/g);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter(([name]) => !commands.includes(name))).toEqual([]);

    const rejected = await help("rejected");
    expect(
      mentions(/\bnpx millrace rejected ([a-z]+)/g).filter(([name]) => !rejected.includes(name)),
    ).toEqual([]);
  });
});
