/**
 * A checker that has stopped looking stays green. So the faults that the rules speak of are planted in a copy of the
 * tree, and each checker must name each of its faults, and say nothing about what is allowed. (That the tree itself
 * has no faults is what `npm run check` says.)
 */
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHECKERS, type Command, run } from "../checkers.ts";
import { clockFaults, exportFaults, pureListFaults, tagFaults, vendorFaults } from "./layers.ts";
import { ROOT } from "./repository.ts";

let copy: string;
beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "millrace-planted-"));
  copyTree(copy);
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

/** The working tree with links to the installed packages; our own packages are links to the copies. */
function copyTree(target: string): void {
  const left = [".git", ".millrace", ".turbo", "node_modules", "coverage"];
  for (const name of readdirSync(ROOT).filter((one) => !left.includes(one))) {
    const filter = (file: string): boolean => !left.includes(basename(file));
    cpSync(join(ROOT, name), join(target, name), { recursive: true, filter });
  }
  for (const modules of globSync(["node_modules", "{libs,services,lines,deploy}/*/node_modules"], {
    cwd: ROOT,
  })) {
    mkdirSync(join(target, modules), { recursive: true });
    for (const name of readdirSync(join(ROOT, modules))) {
      const [from, to] = [join(ROOT, modules, name), join(target, modules, name)];
      // Relative links to our own packages lead to the copies when they are copied as they are.
      if (name === "@millrace") cpSync(from, to, { recursive: true, verbatimSymlinks: true });
      else symlinkSync(from, to);
    }
  }
}

/** Files that are written for one look: their text, or what becomes of the text that is there. */
type Plant = Readonly<Record<string, string | ((text: string) => string)>>;

async function planted<T>(plant: Plant, look: () => T | Promise<T>): Promise<T> {
  const before = new Map<string, string | null>();
  try {
    for (const [name, content] of Object.entries(plant)) {
      const file = join(copy, name);
      const old = existsSync(file) ? readFileSync(file, "utf8") : null;
      before.set(file, old);
      writeFileSync(file, typeof content === "string" ? content : content(old ?? ""));
    }
    return await look();
  } finally {
    for (const [file, old] of before) {
      if (old === null) rmSync(file);
      else writeFileSync(file, old);
    }
  }
}

/** What a checker says about a plant: its output, where it fails. */
const findings = (plant: Plant, command: Command): Promise<string> =>
  planted(plant, async () => {
    const { ok, output } = await run(command, { cwd: copy });
    return ok ? "" : output;
  });

const declare =
  (dependency: string) =>
  (text: string): string => {
    const manifest = JSON.parse(text);
    return JSON.stringify({ ...manifest, dependencies: { ...manifest.dependencies, [dependency]: "*" } });
  };

/** turbo breaks its lines where it likes. */
const unbroken = (output: string): string => output.replaceAll(/\n\s*\|\s*/g, " ");

describe("boundaries", () => {
  let clean: string;
  beforeAll(async () => {
    clean = unbroken(await findings({}, CHECKERS.boundaries));
  });

  it.each<[string, Plant, string]>([
    [
      "a service that imports a service",
      {
        "services/ingest/src/planted.ts": 'export { createService } from "@millrace/feature";\n',
        "services/ingest/package.json": declare("@millrace/feature"),
      },
      "Package `@millrace/feature` found without any tag listed in allowlist for `@millrace/ingest`",
    ],
    [
      "a service that reaches into a service by path",
      { "services/ingest/src/planted.ts": 'export * from "../../feature/src/service.ts";\n' },
      "import `../../feature/src/service.ts` leaves the package",
    ],
    [
      "an import that package.json does not declare",
      { "libs/judge/src/planted.ts": 'export * from "@millrace/versions";\n' },
      "cannot import package `@millrace/versions` because it is not a dependency",
    ],
    [
      "a vendor's client that package.json does not declare",
      { "libs/stream/src/planted.ts": 'export { Kafka } from "kafkajs";\n' },
      "cannot import package `kafkajs` because it is not a dependency",
    ],
    [
      "a pure package that depends on the engine",
      { "libs/judge/package.json": declare("@millrace/runtime") },
      "Package `@millrace/runtime` found without any tag listed in allowlist for `@millrace/judge`",
    ],
    [
      "an adapter that depends on an adapter",
      { "libs/kafka/package.json": declare("@millrace/nats") },
      "Package `@millrace/nats` found without any tag listed in allowlist for `@millrace/kafka`",
    ],
    [
      "packages that depend on each other",
      { "libs/runtime/package.json": declare("@millrace/stream") },
      "Circular package dependency detected",
    ],
  ])("names %s", async (_fault, plant, finding) => {
    expect(clean).not.toContain(finding);
    expect(unbroken(await findings(plant, CHECKERS.boundaries))).toContain(finding);
  });
});

describe("lint", () => {
  /** Fault, folder, source, and the rule that finds it; null: allowed. All are planted at once, as name.ts. */
  const CASES: readonly (readonly [string, string, string, string | null])[] = [
    [
      "a pure package that imports from Node",
      "libs/judge/src",
      'export { readFile } from "node:fs/promises";\n',
      "import(no-nodejs-modules)",
    ],
    [
      "a pure package that reads the clock",
      "libs/judge/src",
      "export const now: number = Date.now();\n",
      "eslint(no-restricted-properties)",
    ],
    [
      "a pure package that draws lots",
      "libs/judge/src",
      "export const lot: number = Math.random();\n",
      "eslint(no-restricted-properties)",
    ],
    [
      "a pure package that waits",
      "libs/judge/src",
      "setTimeout(() => {}, 1);\nexport {};\n",
      "eslint(no-restricted-globals)",
    ],
    [
      "the environment read outside of config.ts",
      "services/ingest/src",
      'export const token: string | undefined = process.env["TOKEN"];\n',
      "node(no-process-env)",
    ],
    [
      "an import cycle",
      "libs/judge/src",
      'import { a } from "./planted-5.ts";\nexport const b = (): unknown => a;\n',
      "import(no-cycle)",
    ],
    [
      "the other side of the cycle",
      "libs/judge/src",
      'import { b } from "./planted-6.ts";\nexport const a = (): unknown => b;\n',
      "import(no-cycle)",
    ],
    [
      "an adapter named outside of wiring.ts",
      "services/ingest/src",
      'export { createKafkaBroker } from "@millrace/kafka";\n',
      "eslint(no-restricted-imports)",
    ],
    [
      "an adapter's type named outside of wiring.ts, which is allowed,",
      "services/ingest/src",
      'export type { RpcServer } from "@millrace/rpc";\n',
      null,
    ],
    [
      "the testkit outside of tests",
      "libs/stream/src",
      'export { createMemoryBroker } from "@millrace/testkit";\n',
      "eslint(no-restricted-imports)",
    ],
    [
      "a native call outside of its recipe",
      "services/trainer/src",
      'export { load } from "koffi";\n',
      "eslint(no-restricted-imports)",
    ],
    [
      "a promise that nobody awaits",
      "libs/stream/src",
      "const work = async (): Promise<void> => {};\nwork();\nexport {};\n",
      "typescript(no-floating-promises)",
    ],
    [
      "a promise where none is expected",
      "libs/stream/src",
      "[1].forEach(async () => {});\nexport {};\n",
      "typescript(no-misused-promises)",
    ],
    [
      "a switch that forgets a case",
      "libs/stream/src",
      'export function f(kind: "a" | "b"): void {\n  switch (kind) {\n    case "a":\n  }\n}\n',
      "typescript(switch-exhaustiveness-check)",
    ],
    ["a thrown text", "libs/stream/src", 'throw "no error";\n', "typescript(only-throw-error)"],
    [
      "a type imported as a value",
      "libs/stream/src",
      'import { Broker } from "./broker.ts";\nexport type Mine = Broker;\n',
      "typescript(consistent-type-imports)",
    ],
    ["output past the log", "libs/stream/src", 'console.log("here");\n', "eslint(no-console)"],
  ];
  const file = (i: number): string => `${CASES[i]?.[1]}/planted-${i}.ts`;
  const plant = Object.fromEntries(CASES.map(([, , source], i) => [file(i), source]));
  let output: string;
  beforeAll(async () => {
    output = await findings(plant, [...CHECKERS.lint, "--format=unix", ...Object.keys(plant)]);
  });

  it.each(CASES.map(([fault, , , rule], i) => [fault, rule, file(i)] as const))(
    "sees %s (%s)",
    (_fault, rule, name) => {
      const said = output.split("\n").filter((line) => line.startsWith(`${name}:`));
      expect(said).toEqual(rule === null ? [] : [expect.stringContaining(`/${rule}]`)]);
    },
  );
});

describe("types", () => {
  const CASES: readonly (readonly [string, string, string | null])[] = [
    ["a wrong type", 'export const wrong: number = "text";\n', "TS2322"],
    ["an import past the front door", 'export * from "@millrace/stream/src/step.ts";\n', "TS2307"],
    ["an export without a type", "export const untyped = Math.max(1, 2);\n", "TS9010"],
    ["syntax that Node cannot strip", "export enum Kind {\n  A,\n}\n", "TS1294"],
    ["a value that may be missing", "export const first: number = [1].slice()[0];\n", "TS2322"],
    ["the front door, which is allowed,", 'export type { Broker } from "@millrace/stream";\n', null],
  ];
  const file = (i: number): string => `services/ingest/src/planted-${i}.ts`;
  const plant = Object.fromEntries(CASES.map(([, source], i) => [file(i), source]));
  const config = { extends: "./tsconfig.json", include: [], files: Object.keys(plant) };
  let output: string;
  beforeAll(async () => {
    const [program] = CHECKERS.types;
    output = await findings({ ...plant, "planted.json": JSON.stringify(config) }, [
      program,
      "-p",
      "planted.json",
    ]);
  });

  it.each(CASES.map(([fault, , code], i) => [fault, code, file(i)] as const))(
    "see %s (%s)",
    (_fault, code, name) => {
      const said = output.split("\n").filter((line) => line.startsWith(`${name}(`));
      expect(said).toEqual(code === null ? [] : [expect.stringContaining(`error ${code}:`)]);
    },
  );
});

describe("format and dead code", () => {
  const FILE = "libs/judge/src/planted.ts";
  it.each<[string, Command, string, string]>([
    ["a file that is not formatted", CHECKERS.format, "export   const x:number=1\n", `${FILE} format`],
    [
      "imports that are not sorted",
      CHECKERS.format,
      'import { z } from "./z.ts";\nimport { a } from "./a.ts";\n\nexport { a, z };\n',
      "assist/source/organizeImports",
    ],
    ["a file that nobody uses", CHECKERS["dead code"], "export const x: number = 1;\n", FILE],
  ])("name %s", async (_fault, command, source, finding) => {
    expect(await findings({ [FILE]: source }, command)).toContain(finding);
  });
});

describe("our own rules", () => {
  it.each<[string, (root: string) => string[], Plant]>([
    ["a package without a layer", tagFaults, { "libs/judge/turbo.json": '{ "extends": ["//"] }' }],
    ["a layer that nobody knows", tagFaults, { "libs/judge/turbo.json": '{ "tags": ["purer"] }' }],
    [
      "a second door",
      exportFaults,
      {
        "libs/judge/package.json": (text) =>
          text.replace('"exports": {', '"exports": { "./judge": "./src/judge.ts",'),
      },
    ],
    [
      "a vendor's client outside of its adapter",
      vendorFaults,
      { "libs/stream/package.json": declare("kafkajs") },
    ],
    [
      "a pure package that makes itself a date",
      clockFaults,
      { "libs/judge/src/planted.ts": "export const now: Date = new Date();\n" },
    ],
    [
      "a pure package that lint does not know",
      pureListFaults,
      { "libs/rpc/turbo.json": '{ "tags": ["pure"] }' },
    ],
  ])("name %s", async (_fault, rule, plant) => {
    expect(rule(copy)).toEqual([]);
    expect(await planted(plant, () => rule(copy))).toHaveLength(1);
  });
});
