import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lock, tryLock } from "./lock.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-lock-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("lock", () => {
  it("has one holder at a time, also within a process", () => {
    const file = join(folder, "sub/one.lock");
    const held = tryLock(file);
    expect(tryLock(file)).toBeUndefined();
    held?.release();
    held?.release();
    const again = tryLock(file);
    expect(again).toBeDefined();
    again?.release();
  });

  it("is given up by a holder that is killed", async () => {
    const file = join(folder, "one.lock");
    const script = `import { tryLock } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
      tryLock(${JSON.stringify(file)}); process.stdout.write("held"); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    expect(tryLock(file)).toBeUndefined();
    let waited = 0;
    const next = lock(file, () => {
      waited += 1;
    });
    holder.kill("SIGKILL");
    (await next).release();
    expect(waited).toBe(1);
  });

  it("gives up waiting when the signal aborts", async () => {
    const file = join(folder, "one.lock");
    const held = tryLock(file);
    await expect(lock(file, () => {}, AbortSignal.timeout(20))).rejects.toThrow("timeout");
    held?.release();
  });
});
