import { createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { z } from "zod";
import { keyId } from "./keys.ts";

/** Longest envelope that is read, in characters: a statement about one model has about 1,000. */
const ENVELOPE_MAX = 64 * 1024;
/** An envelope may carry several signatures, as while keys are exchanged. */
const SIGNATURES_MAX = 8;

const envelope = z.object({
  payloadType: z.string(),
  payload: z.string(),
  signatures: z
    .array(z.object({ keyid: z.string(), sig: z.string() }))
    .min(1)
    .max(SIGNATURES_MAX),
});

/** A payload that a trusted key has signed, or why there is none. */
export type Opened =
  | { readonly ok: true; readonly keyId: string; readonly payload: Uint8Array }
  | { readonly ok: false; readonly reason: string };

/** Signs a payload: a DSSE envelope as JSON (secure-systems-lab/dsse, v1.0.2). */
export function seal(payloadType: string, payload: Uint8Array, privateKey: KeyObject): string {
  const sig = sign(null, preAuthentication(payloadType, payload), privateKey).toString("base64");
  return JSON.stringify({
    payloadType,
    payload: Buffer.from(payload).toString("base64"),
    signatures: [{ keyid: keyId(createPublicKey(privateKey)), sig }],
  });
}

/** Opens an envelope. Nothing of the payload is read before a signature of a trusted key was found to fit it. */
export function open(text: string, payloadType: string, trustedPublicKeysPem: readonly string[]): Opened {
  if (text.length > ENVELOPE_MAX) {
    return refused(`the envelope has ${text.length} characters, more than ${ENVELOPE_MAX}`);
  }
  const read = envelope.safeParse(parsed(text));
  if (!read.success) return refused("it is no DSSE envelope");
  if (read.data.payloadType !== payloadType) {
    return refused(
      `the payload is ${JSON.stringify(read.data.payloadType.slice(0, 80))}, not ${payloadType}`,
    );
  }
  const payload = fromBase64(read.data.payload);
  if (payload === null) return refused("the payload is not base64");
  const keys = new Map(
    trustedPublicKeysPem.map((pem) => createPublicKey(pem)).map((key) => [keyId(key), key] as const),
  );
  const known = read.data.signatures.filter(({ keyid }) => keys.has(keyid));
  if (known.length === 0) {
    return refused(`no trusted key has signed it, but ${read.data.signatures[0]?.keyid.slice(0, 64)}`);
  }
  const message = preAuthentication(payloadType, payload);
  const fits = known.find(({ keyid, sig }) => {
    const signature = fromBase64(sig);
    return signature !== null && verify(null, message, keys.get(keyid) as KeyObject, signature);
  });
  return fits === undefined
    ? refused("the signature does not fit what it signs")
    : { ok: true, keyId: fits.keyid, payload };
}

/** What DSSE signs: type and payload with their lengths, so that neither can be taken for a part of the other. */
function preAuthentication(payloadType: string, payload: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** null: not base64 as it is written canonically. Node itself skips what it does not know. */
function fromBase64(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}

/** JSON, or undefined. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const refused = (reason: string): Opened => ({ ok: false, reason });
