import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";

/**
 * An Ed25519 private key from a setting: PEM (PKCS #8), or the base64 of it where a setting holds one line only.
 * Throws an Error that names the remedy and never the text, which is a secret.
 */
export function signingKey(text: string): KeyObject {
  const pem = text.includes("-----BEGIN") ? text : Buffer.from(text, "base64").toString("utf8");
  return ed25519(
    () => createPrivateKey(pem),
    "not an Ed25519 private key: give PEM (PKCS #8), or the base64 of it",
  );
}

/**
 * Public keys from a setting: base64 of SPKI DER, separated by commas. Answers PEM, as `verifyModel` takes it. Throws
 * an Error that names the first wrong one by its place.
 */
export function trustedKeys(text: string): readonly string[] {
  return text
    .split(",")
    .map((key) => key.trim())
    .filter((key) => key !== "")
    .map((key, i) => {
      const der = { key: Buffer.from(key, "base64"), format: "der", type: "spki" } as const;
      const wrong = `key ${i + 1} is not an Ed25519 public key: give the base64 of its SPKI DER`;
      return ed25519(() => createPublicKey(der), wrong)
        .export({ format: "pem", type: "spki" })
        .toString();
    });
}

/** SHA-256 of the key's SPKI DER, 64 hex digits: the same name for a key wherever it is written down. */
export function keyId(publicKey: KeyObject): string {
  return createHash("sha256")
    .update(publicKey.export({ format: "der", type: "spki" }))
    .digest("hex");
}

function ed25519(read: () => KeyObject, wrong: string): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch {
    // The cause may quote the text.
    throw new Error(wrong);
  }
  if (key.asymmetricKeyType !== "ed25519") throw new Error(wrong);
  return key;
}
