import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import flights from "@millrace/line-flights";
import {
  checkLine,
  defineLine,
  featureNames,
  type LineDefinition,
  MODEL_INPUT,
  MODEL_OUTPUT,
} from "@millrace/lines";
import { afterAll, describe, expect, it } from "vitest";
import { typesModule } from "./types-module.ts";

const ROOT = join(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "millrace-types-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const moduleOf = (line: LineDefinition): string =>
  typesModule(line, { features: featureNames(line), featureDigest: "f00d" });

/** Every type of field, names that are words of the language, and texts that try to leave their quotes. */
const shop = defineLine({
  name: "new",
  title: 'Will */ "it"\nreturn?',
  streams: {
    class: {
      topic: "shop.orders",
      id: "order",
      time: "at",
      key: ["buyer", "country"],
      fields: {
        order: { type: "text" },
        at: { type: "time" },
        buyer: { type: "integer" },
        country: { type: "category", values: ["DE", 'a"b', "</script>"] },
        amount: { type: "decimal", scale: 2 },
        weight: { type: "number", optional: true },
        gift: { type: "boolean" },
        photo: { type: "blob", mediaType: "image/jpeg", bytesMax: 1_000, optional: true },
      },
    },
  },
  predict: { on: "class" },
  features: {
    amount: { kind: "field", field: "amount" },
    shops: {
      kind: "window",
      aggregate: "top",
      of: "country",
      k: 2,
      from: "class",
      by: ["buyer"],
      window: "1d",
    },
  },
});

/** What the compiler says of files beside the modules, an error each. */
function compile(files: Readonly<Record<string, string>>): readonly string[] {
  const compilerOptions = {
    paths: { "@millrace/client": [join(ROOT, "libs/client/src/index.ts")] },
    typeRoots: [join(ROOT, "node_modules/@types")],
    noUnusedLocals: false,
  };
  const config = { extends: join(ROOT, "tsconfig.json"), compilerOptions, include: ["*.ts"], exclude: [] };
  const all = {
    ...files,
    "flights.ts": moduleOf(flights),
    "shop.ts": moduleOf(shop),
    "package.json": '{ "type": "module" }',
    "tsconfig.json": JSON.stringify(config),
  };
  for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  const said = spawnSync(tsc, ["-p", ".", "--pretty", "false"], { cwd: folder, encoding: "utf8" });
  return said.stdout.split(/\n(?=\S)/);
}

const IMPORTS = `
import { createClient, createGrpcClient } from "@millrace/client";
import { flights, type FlightsFeatures } from "./flights.ts";
import { newLine, type NewClassEvent } from "./shop.ts";
const client = createClient({ url: "http://127.0.0.1:8000" });
declare const all: FlightsFeatures;
`;

const RIGHT = `${IMPORTS}
const prediction = await client.predict(flights, { ...all, hour: 17, weekday: null });
export const score: number = prediction.score;
await client.predict(flights, { entity: { origin: "ORD", distance: 733 } }, { unit: "me" });
await client.predict("flights", { entity: { origin: "ORD" } });
await client.predict(newLine, { amount: 1, shops_1: 2, shops_2: null });
await client.predict(newLine, { entity: { buyer: 1, country: "DE" } });
const event: NewClassEvent =
  { order: "1", at: 0, buyer: 1, country: "</script>", amount: 1.25, gift: true, weight: null };
const grpc = await createGrpcClient({ feature: "127.0.0.1:9102" });
const { values } = await grpc.features.get(newLine, { event });
export const second: number | null = values.shops_2;
`;

/** Statements, and what the compiler must name. */
const WRONG = [
  ["void client.predict(flights, { ...all, houre: 17 });", "'houre'"],
  ["void client.predict(newLine, { amount: 1, shops_1: 2 });", "'shops_2' is missing"],
  ['void client.predict(flights, { ...all, hour: "17" });', "'string'"],
  ["void client.predict(newLine, { entity: { buyer: 1 } });", "'country' is missing"],
  ['void client.predict(flights, { entity: { origine: "ORD" } });', "'origine'"],
  ['void client.predict(newLine, { entity: { buyer: 1, country: "FR" } });', '"FR"'],
  ['void client.predict("flights", all);', "'FlightsFeatures' is not assignable"],
] as const;

describe("the module of a line", () => {
  it("compiles where it is used as it is meant, and nowhere else", () => {
    expect(checkLine(shop)).toMatchObject({ ok: true });
    const statements = WRONG.map(([statement]) => statement).join("\n");
    const said = compile({ "right.ts": RIGHT, "wrong.ts": `${IMPORTS}\n${statements}\n` });
    const first = IMPORTS.split("\n").length + 1;
    for (const [i, [statement, named]] of WRONG.entries()) {
      const errors = said.filter((error) => error.startsWith(`wrong.ts(${first + i},`));
      expect(errors.join("\n"), statement).toContain(named);
    }
    expect(said.filter((error) => /^(right|flights|shop)\.ts/.test(error))).toEqual([]);
  });

  it("is the same text for the same definition", () => {
    expect(moduleOf(flights)).toBe(moduleOf(structuredClone(flights)));
  });

  it("uses the names of a line's input and output", () => {
    const source = readFileSync(join(import.meta.dirname, "predict.ts"), "utf8");
    expect(source).toContain(`INPUT = "${MODEL_INPUT}"`);
    expect(source).toContain(`OUTPUT = "${MODEL_OUTPUT}"`);
  });
});
