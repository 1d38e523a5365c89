import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureSecrets, readSecrets, secretsFile } from "./secrets.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "millrace-secrets-"));
});
afterEach(() => rm(home, { recursive: true }));

describe("ensureSecrets", () => {
  it("makes them once, for the owner's eyes only", async () => {
    expect(await readSecrets(home)).toBeUndefined();
    const made = await ensureSecrets(home);
    expect((await stat(secretsFile(home))).mode & 0o777).toBe(0o600);
    expect(await ensureSecrets(home)).toEqual(made);
    expect(await readSecrets(home)).toEqual(made);
    expect(new Set(Object.values(made)).size).toBe(Object.keys(made).length);
  });

  it("gives makers at the same time the same ones, and leaves no draft", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => ensureSecrets(home)));
    expect(new Set(all.map((one) => one.token)).size).toBe(1);
    expect(await readdir(home)).toEqual(["secrets.json"]);
  });

  it("differ between instances", async () => {
    const other = await mkdtemp(join(tmpdir(), "millrace-secrets-"));
    expect((await ensureSecrets(other)).token).not.toBe((await ensureSecrets(home)).token);
    await rm(other, { recursive: true });
  });

  it("refuses a damaged file by name instead of replacing it", async () => {
    await writeFile(secretsFile(home), '{ "token": "short" }');
    await expect(ensureSecrets(home)).rejects.toThrow(`${secretsFile(home)} does not hold`);
  });
});
