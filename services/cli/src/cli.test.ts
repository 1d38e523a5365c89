import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";
import type { Io } from "./io.ts";
import { runCli } from "./service.ts";
import { connectMesh, localMesh, meshFailure, repository } from "./wiring.ts";

const BIN = join(import.meta.dirname, "../bin/millrace.mjs");
const home = mkdtempSync(join(tmpdir(), "millrace-cli-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command in this process: the real wiring, with a terminal of ours. */
async function millrace(...args: string[]): Promise<Answer> {
  let [out, err] = ["", ""];
  const io: Io = {
    write: (text) => {
      out += text;
    },
    writeError: (text) => {
      err += text;
    },
    readInput: async () => "",
    terminal: false,
    color: false,
    columns: () => 80,
    rows: () => 24,
  };
  const code = await runCli(args, {
    io,
    config: readConfig({ ...process.env, MILLRACE_HOME: home, NO_COLOR: "1" }),
    repository,
    localMesh,
    connectMesh,
    meshFailure,
    now: () => Date.now(),
    startedAtMs: Date.now(),
    stop: new AbortController().signal,
    self: [],
  });
  return { code, out, err };
}

const COMMANDS = [
  ["up"],
  ["down"],
  ["start"],
  ["apply"],
  ["lines"],
  ["status"],
  ["predict"],
  ["versions"],
  ["rollback"],
  ["models"],
  ["models", "add"],
  ["rollout"],
  ["rollout", "start"],
  ["rollout", "share"],
  ["rollout", "end"],
  ["rollout", "status"],
  ["features"],
  ["features", "get"],
  ["features", "verify"],
  ["features", "dataset"],
  ["rejected"],
  ["rejected", "list"],
  ["rejected", "show"],
  ["rejected", "replay"],
  ["doctor"],
  ["env"],
];

describe("millrace --help", () => {
  it("names every command, and so does the command without arguments", async () => {
    const { code, out } = await millrace("--help");
    expect(code).toBe(0);
    for (const [name] of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name}\\b`, "m"));
    expect((await millrace()).out).toBe(out);
  });

  it.each(COMMANDS)("shows an example of %s %s", async (...args) => {
    const { code, out } = await millrace(...args, "--help");
    expect(code).toBe(0);
    expect(out).toMatch(/\nExample\n {2}(npx millrace|npm start)/);
  });
});

describe("wrong usage", () => {
  it("suggests the command that was meant", async () => {
    const { code, out, err } = await millrace("rejcted");
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("Did you mean rejected?");
  });

  it.each([
    [["apply"], "missing required argument"],
    [["lines", "--jsn"], "Did you mean --json?"],
    [["rollback", "flights", "--to", "none"], "whole number"],
    [["rollout", "start", "flights", "last"], "whole number"],
    [["rollout", "start", "flights", "4", "--share", "2"], "below 1"],
    [["rollout", "start", "flights", "4", "--strategy", "blue"], "canary, ab"],
    [["rollout", "share", "flights", "0"], "below 1"],
    [["rollout", "end", "flights"], "either --promote or --rollback"],
    [["rollout", "end", "flights", "--promote", "--rollback"], "either --promote or --rollback"],
    [["models", "add", "flights", "nowhere.onnx"], "nowhere.onnx cannot be read"],
    [["models", "add", "flights", BIN], "is not taken: the bytes are not an ONNX model"],
    [["start", "--speed", "0"], "number above 0"],
    [["start", "--shock", "someday"], "ISO time"],
    [["rejected", "replay", "flights"], "one of --at, --reason or --all"],
    [["rejected", "replay", "flights", "--all", "--set", "x"], "field=value"],
    [["rejected", "show", "flights", "17"], "PARTITION/OFFSET"],
    [["predict", "flights"], "either an event or --features"],
    [["predict", "flights", "--features", "[1,"], "not JSON"],
    [["status", "--watch", "--json"], "exclude each other"],
    [["features", "dataset", "flights"], "--out"],
    [["features", "dataset", "flights", "--out", "x.csv"], "x.csv is not called .parquet"],
    [["features", "dataset", "flights", "--out", "nowhere/x.parquet"], "no folder"],
    [["features", "dataset", "flights", "--out", "x.parquet", "--order", "any"], "event-time, acceptance"],
    [["features", "dataset", "flights", "--out", "x.parquet", "--from", "soon"], "ISO time"],
  ])("%j says what is wrong", async (args, text) => {
    const { code, err } = await millrace(...args);
    expect(code).toBeGreaterThan(0);
    expect(err).toContain(text);
  });

  it("is JSON on standard error with --json", async () => {
    const { code, out, err } = await millrace("lines", "--jsn", "--json");
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(JSON.parse(err)).toMatchObject({
      error: { what: expect.any(String), remedy: expect.any(String) },
    });
  });
});

describe("without a mesh", () => {
  it.each([
    ["lines"],
    ["status"],
    ["versions", "flights"],
    ["rollback", "flights"],
    ["rollout", "start", "flights", "4"],
    ["rollout", "status", "flights"],
    ["predict", "flights", "{}"],
    ["rejected", "list", "flights"],
    ["features", "dataset", "flights", "--out", "x.parquet"],
    ["env"],
  ])("%s says so and names the command that starts one", async (...args) => {
    const { code, out, err } = await millrace(...args, "--json");
    expect(code).toBe(1);
    expect(out).toBe("");
    const { error } = JSON.parse(err) as { error: { what: string; remedy: string } };
    expect(error.what).toContain("there is no mesh in");
    expect(error.remedy).toContain("npx millrace up");
  });

  it("down has nothing to stop, and that is no error", async () => {
    expect(await millrace("down")).toMatchObject({ code: 0, out: "nothing was running\n" });
  });

  it("doctor finds the mesh missing and exits with 1", async () => {
    const { code, out } = await millrace("doctor", "--json");
    expect(code).toBe(1);
    const { checks } = JSON.parse(out) as { checks: { name: string; ok: boolean; remedy: string }[] };
    expect(checks.find(({ name }) => name === "mesh")).toMatchObject({
      ok: false,
      remedy: /npx millrace up/,
    });
  });
});

describe("apply", () => {
  let files = 0;
  const lineFile = (text: string): string => {
    const file = join(home, `line-${files++}.ts`);
    writeFileSync(file, text);
    return file;
  };

  it("--check accepts the example line by path, by folder and by name", async () => {
    const { code, out } = await millrace("apply", "flights", "--check", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ line: "flights", ok: true });
  });

  it("refuses a wrong line with the path of each field and a remedy", async () => {
    const example = join(import.meta.dirname, "../../../lines/flights/line.ts");
    const file = lineFile(
      `import flights from ${JSON.stringify(example)};
       export default { ...flights, partitions: 0, retrain: { ...flights.retrain, cooldown: "soon" } };`,
    );
    const { code, out, err } = await millrace("apply", file, "--json");
    expect(code).toBe(1);
    expect(out).toBe("");
    const { error } = JSON.parse(err) as { error: { issues: { path: string; remedy: string }[] } };
    expect(error.issues.map(({ path }) => path).sort()).toEqual(["partitions", "retrain.cooldown"]);
    expect(error.issues.every(({ remedy }) => remedy.length > 0)).toBe(true);
    expect((await millrace("apply", file)).err).toMatch(/retrain\.cooldown: not a duration/);
  });

  it.each([
    ["export const line = 1;", "no default export"],
    ["export default {", "cannot be loaded"],
    ['import "@millrace/nowhere";', "cannot be loaded"],
  ])("refuses %s", async (text, problem) => {
    const { code, err } = await millrace("apply", lineFile(text));
    expect(code).toBe(1);
    expect(err).toContain(problem);
  });

  it("says what it looks for when there is nothing", async () => {
    expect(await millrace("apply", "nowhere")).toMatchObject({
      code: 1,
      err: expect.stringContaining("there is no line"),
    });
    expect(await millrace("apply", home)).toMatchObject({ code: 1, err: expect.stringContaining("line.ts") });
  });
});

describe("the program itself", () => {
  const run = (...args: string[]): Answer => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], MILLRACE_HOME: home },
    });
    return { code: status ?? -1, out: stdout, err: stderr };
  };

  it("shows its help", async () => {
    expect(run("--help")).toEqual({ code: 0, out: (await millrace("--help")).out, err: "" });
  });

  it("hands out exit codes, and errors on standard error", () => {
    const { code, out, err } = run("lines", "--json");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(JSON.parse(err)).toHaveProperty("error.remedy");
  });
});
