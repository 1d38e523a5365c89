import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeOnce } from "./secrets.ts";

/** An instance's Ed25519 key for signing models. */
export interface SigningKey {
  /** PEM, PKCS #8. */
  readonly privatePem: string;
  /** Base64 of the SPKI DER: what others verify with. */
  readonly publicSpki: string;
}

/** The file with the private half. */
const keyFile = (home: string): string => join(home, "signing-key.pem");

/** The instance's key, made where there is none yet (mode 0600). Throws when the file is there and holds no such key. */
export async function ensureSigningKey(home: string): Promise<SigningKey> {
  const found = await readSigningKey(home);
  if (found !== undefined) return found;
  await mkdir(home, { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync("ed25519");
  await writeOnce(keyFile(home), privateKey.export({ format: "pem", type: "pkcs8" }).toString());
  return (await readSigningKey(home)) as SigningKey;
}

/** The instance's key, or undefined where it has none yet. */
export async function readSigningKey(home: string): Promise<SigningKey | undefined> {
  const file = keyFile(home);
  const privatePem = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (privatePem === undefined) return undefined;
  try {
    const publicKey = createPublicKey(createPrivateKey(privatePem));
    return { privatePem, publicSpki: publicKey.export({ format: "der", type: "spki" }).toString("base64") };
  } catch {
    // The cause may quote the file.
    throw new Error(
      `${file} does not hold a signing key; remove it to have a new one made (what it has signed is then not trusted)`,
    );
  }
}
