import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LINE_TOPIC_KINDS, lineTopics, MESH_TOPICS, REGISTRY_SUBJECT } from "@millrace/contracts";
import { describe, expect, it } from "vitest";
import { run } from "../checkers.ts";
import { ROOT, readWorkspaces, sourceFiles } from "./repository.ts";

const text = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const withoutComments = (source: string): string => source.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
const escaped = (name: string): string => name.replaceAll(".", "\\.");
const services = readWorkspaces(ROOT)
  .filter(({ tags }) => tags[0] === "service")
  .map(({ folder }) => folder.slice("services/".length));

describe("topic catalogue", () => {
  const CATALOGUE = "libs/contracts/src/topics.ts";
  const topics = [...lineTopics("LINE"), ...Object.values(MESH_TOPICS)];
  /** The service of `feature/watch`; undefined for readers and writers that are no service. */
  const serviceOf = (step: string): string | undefined =>
    services.find((name) => step.startsWith(`${name}/`));
  const meet = (service: string): readonly string[] =>
    topics
      .filter(({ owner, readers }) => [owner, ...readers].some((step) => serviceOf(step) === service))
      .map(({ name }) => name)
      .sort();
  const workers = services.filter((service) => meet(service).length > 0);

  it("is the only place that names topics", () => {
    const named = [
      ...Object.values(MESH_TOPICS).map(({ name }) => `["'\`]${escaped(name)}["'\`]`),
      `["'\`]${escaped(REGISTRY_SUBJECT)}["'\`]`,
      ...LINE_TOPIC_KINDS.map((kind) => `\\}\\.${kind}\``),
      ...LINE_TOPIC_KINDS.map((kind) => `\\+ *"\\.${kind}"`),
    ];
    const pattern = new RegExp(named.join("|"));
    expect(pattern.test("`${line.name}.events`")).toBe(true);
    const files = sourceFiles(ROOT, "libs", "services", "lines", "deploy");
    expect(files.filter((file) => file !== CATALOGUE && pattern.test(withoutComments(text(file))))).toEqual(
      [],
    );
  });

  it.each(workers)("agrees with the code of %s about what it reads and writes", (service) => {
    const source = sourceFiles(ROOT, `services/${service}/src`).map(text).join("\n");
    // The event log of a line is named by `eventLog` of libs/lines.
    const uses = (kind: string): boolean =>
      new RegExp(`lineTopic\\([^()]*, "${kind}"\\)`).test(source) ||
      // The registry only guards its place.
      (kind === "events" && service !== "registry" && /\beventLog\(/.test(source));
    const used = [
      ...LINE_TOPIC_KINDS.filter(uses).map((kind) => `LINE.${kind}`),
      ...Object.entries(MESH_TOPICS)
        .filter(([kind]) => new RegExp(`MESH_TOPICS\\.${kind}\\b`).test(source))
        .map(([, { name }]) => name),
    ];
    expect(used.sort()).toEqual(meet(service));
  });

  it.each(workers)("agrees with the README of %s", (service) => {
    const readme = text(`services/${service}/README.md`);
    const named = [...readme.matchAll(/`(LINE\.[a-z]+|[a-z]+\.[a-z]+)`/g)].map(([, name]) => name as string);
    const known = new Set(topics.map(({ name }) => name));
    expect(named.filter((name) => name.startsWith("LINE.") && !known.has(name))).toEqual([]);
    expect(new Set(named.filter((name) => known.has(name)))).toEqual(new Set(meet(service)));
  });
});

describe("protocols", () => {
  it("are served, each by one service", () => {
    const declared = globSync("proto/**/*.proto", { cwd: ROOT }).flatMap((file) =>
      [...text(file).matchAll(/^service (\w+)/gm)].map(([, name]) => name as string),
    );
    expect(declared.length).toBeGreaterThan(3);
    // `serve` of libs/rpc pairs a service with handlers; the compiler checks that no method is missing.
    const sources = services.flatMap((service) => sourceFiles(ROOT, `services/${service}/src`).map(text));
    const serving = (name: string): number =>
      sources.filter((source) => new RegExp(`(\\bserve\\w*\\(|\\bservice: )(\\w+\\.)?${name},`).test(source))
        .length;
    expect(declared.map((name) => [name, serving(name)])).toEqual(declared.map((name) => [name, 1]));
  });

  it("have generated code that is up to date (`npm run generate`)", async () => {
    const folder = mkdtempSync(join(tmpdir(), "millrace-generated-"));
    try {
      expect(await run(["buf", "generate", "proto", "--output", folder], { cwd: ROOT })).toMatchObject({
        ok: true,
      });
      const generated = (root: string): Record<string, string> =>
        Object.fromEntries(
          globSync("libs/contracts/src/gen/**/*.{js,ts}", { cwd: root })
            .sort()
            .map((file) => [file, readFileSync(join(root, file), "utf8")]),
        );
      const fresh = generated(folder);
      expect(Object.keys(fresh).length).toBeGreaterThan(3);
      expect(generated(ROOT)).toEqual(fresh);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
