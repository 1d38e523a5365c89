import { createPrivateKey, createPublicKey } from "node:crypto";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureSigningKey, readSigningKey } from "./signing-key.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "millrace-signing-key-"));
});
afterEach(() => rm(home, { recursive: true }));

describe("ensureSigningKey", () => {
  it("makes an Ed25519 key once, for the owner's eyes only, also when several do it at once", async () => {
    expect(await readSigningKey(home)).toBeUndefined();
    const [made, ...others] = await Promise.all(Array.from({ length: 20 }, () => ensureSigningKey(home)));
    expect(new Set(others.map(({ privatePem }) => privatePem))).toEqual(new Set([made?.privatePem]));
    expect(await readSigningKey(home)).toEqual(made);
    expect(await readdir(home)).toEqual(["signing-key.pem"]);
    expect((await stat(join(home, "signing-key.pem"))).mode & 0o777).toBe(0o600);
    const key = createPrivateKey(made?.privatePem ?? "");
    expect(key.asymmetricKeyType).toBe("ed25519");
    const spki = { key: Buffer.from(made?.publicSpki ?? "", "base64"), format: "der", type: "spki" } as const;
    expect(createPublicKey(spki).equals(createPublicKey(key))).toBe(true);
  });

  it("refuses a damaged file by name instead of replacing it, and does not show it", async () => {
    await writeFile(join(home, "signing-key.pem"), "-----BEGIN PRIVATE KEY-----\nsecret");
    await expect(ensureSigningKey(home)).rejects.toThrow(/signing-key\.pem does not hold a signing key/);
    await expect(ensureSigningKey(home)).rejects.not.toThrow(/secret/);
  });
});
