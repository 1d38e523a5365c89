import { spawnSync } from "node:child_process";
import { chmod, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const BOOTSTRAP = join(import.meta.dirname, "../bootstrap.mjs");

let bin: string;
beforeEach(async () => {
  bin = await mkdtemp(join(tmpdir(), "millrace-bin-"));
  await symlink(process.execPath, join(bin, "node"));
});
afterEach(() => rm(bin, { recursive: true }));

/** A program that only prints. */
async function fake(name: string, output: string): Promise<void> {
  await writeFile(join(bin, name), `#!/bin/sh\necho '${output}'\n`);
  await chmod(join(bin, name), 0o755);
}

const bootstrap = (
  command: string,
  environment: Record<string, string> = {},
): { code: number | null; said: string } => {
  const { status, stderr } = spawnSync(process.execPath, [BOOTSTRAP, command], {
    env: { PATH: bin, ...environment },
    encoding: "utf8",
  });
  return { code: status, said: stderr };
};

describe("bootstrap", () => {
  it("names everything that is missing at once, each with its remedy", () => {
    const { code, said } = bootstrap("start");
    expect(code).toBe(2);
    for (const wanted of ["npm 10", "Java 17", "Maven", "Go 1.24", "python3 with pip"]) {
      expect(said).toMatch(new RegExp(`${wanted}.*: .*(install|https://)`));
    }
  });

  it("tells old versions from new ones", async () => {
    await fake("npm", "9.9.4");
    await fake("java", 'openjdk version "21.0.2" 2024-01-16');
    await fake("mvn", "");
    await fake("go", "go version go1.19.8 linux/amd64");
    await fake("python3", "");
    const { code, said } = bootstrap("test");
    expect(code).toBe(2);
    expect(said.match(/^ {2}.*$/gm)).toEqual([
      expect.stringContaining("npm 10 or newer (found 9)"),
      expect.stringContaining("Go 1.24 or newer (found 1.19)"),
    ]);
  });

  it("asks for no build tools where the environment names the servers", () => {
    const { said } = bootstrap("start", {
      MILLRACE_KAFKA_BROKERS: "kafka:9092",
      MILLRACE_NATS_URL: "nats:4222",
      MILLRACE_S3_URL: "http://s3:9000",
    });
    expect(said).not.toMatch(/Java|Maven|Go 1/);
  });

  it("refuses an unknown command", () => {
    expect(bootstrap("constructor")).toEqual({
      code: 2,
      said: 'millrace: unknown command "constructor": use one of start, test, check, prove, prerequisites\n',
    });
  });
});
