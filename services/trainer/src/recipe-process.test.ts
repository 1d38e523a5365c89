import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog, sleep } from "@millrace/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Report } from "../recipes/kit/contract.ts";
import { type RecipeEnd, runRecipe } from "./recipe-process.ts";

const log = createLog("test", "silent");
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-recipe-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs a recipe whose program is `code`. */
async function run(
  code: string,
  options: { seconds?: number; signal?: AbortSignal; onReport?: (report: Report) => void } = {},
): Promise<{ end: RecipeEnd; reports: Report[]; seconds: number }> {
  writeFileSync(join(folder, "train.mjs"), code);
  const reports: Report[] = [];
  const startedAt = performance.now();
  const end = await runRecipe(
    {
      recipe: { name: "probe", title: "Probe", command: ["node", "train.mjs"], needs: [] },
      folder,
      jobFile: join(folder, "job.json"),
      environment: { PATH: "/usr/bin:/bin", ASKED_FOR: "yes" },
      seconds: options.seconds ?? 20,
      onReport: (report) => {
        reports.push(report);
        options.onReport?.(report);
      },
    },
    log,
    options.signal ?? new AbortController().signal,
  );
  return { end, reports, seconds: (performance.now() - startedAt) / 1_000 };
}

describe("runRecipe", () => {
  it("hands on what the recipe reports, and leaves a library's chatter out", async () => {
    const { end, reports } = await run(`
      console.log("[LightGBM] chatter");
      console.log('{"type":"unheard of"}');
      console.log(JSON.stringify({ type: "progress", done: 0.5, message: process.argv[2] }));
    `);
    expect(end).toEqual({ ok: true });
    expect(reports).toEqual([{ type: "progress", done: 0.5, message: join(folder, "job.json") }]);
  });

  it("gives the recipe the variables that it was given, and no others", async () => {
    const { reports } = await run(
      `console.log(JSON.stringify({ type: "progress", done: 0, message: Object.keys(process.env).sort().join() }));`,
    );
    expect(reports[0]).toMatchObject({ message: "ASKED_FOR,PATH" });
  });

  it.each([
    [64, /^it refused the job: no such key$/],
    [65, /^it refused the data: no such key$/],
    [69, /^a library is missing: no such key$/],
    [70, /^it failed with exit code 70: no such key$/],
  ])("says what exit code %i means, with the recipe's own last words", async (code, reason) => {
    const { end } = await run(
      `console.error("first"); console.error("no such key"); process.exitCode = ${code};`,
    );
    expect(end).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });

  it("says that a recipe could not be started", async () => {
    const end = await runRecipe(
      {
        recipe: { name: "none", title: "None", command: ["no-such-program"], needs: [] },
        folder,
        jobFile: "job.json",
        environment: { PATH: "/usr/bin" },
        seconds: 5,
        onReport: () => {},
      },
      log,
      new AbortController().signal,
    );
    expect(end).toEqual({
      ok: false,
      reason: expect.stringMatching(/could not be started.*no-such-program/),
    });
  });

  it("asks a recipe to stop when its time is over", async () => {
    const { end, seconds } = await run(
      `process.on("SIGTERM", () => process.exit(75)); setInterval(() => {}, 1000);`,
      { seconds: 0.5 },
    );
    expect(end).toEqual({ ok: false, reason: "it did not finish within 0.5 s" });
    expect(seconds).toBeLessThan(5);
  });

  it("asks it to keep a checkpoint and stop when the trainer stops, and kills one that does not", async () => {
    const abort = new AbortController();
    const { end, seconds } = await run(
      `process.on("SIGTERM", () => {}); console.log('{"type":"progress","done":0,"message":"up"}'); setInterval(() => {}, 1000);`,
      { signal: abort.signal, onReport: () => void sleep(50).then(() => abort.abort()) },
    );
    expect(end).toEqual({ ok: false, reason: "it was ended by SIGKILL" });
    expect(seconds).toBeGreaterThan(4.9);
  });
});
