import type { KeyObject } from "node:crypto";
import { z } from "zod";
import { open, parsed, seal } from "./envelope.ts";

const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "urn:millrace:model-provenance:v1";

/** How a model came to be. Digests are 64 hex digits, empty where there is no such thing. */
export interface ModelProvenance {
  readonly line: string;
  readonly recipe: string;
  /** The training run; empty for a model that was not trained here. */
  readonly runId: string;
  readonly datasetDigest: string;
  readonly featureDigest: string;
  /** The version that it was judged against; 0: none. */
  readonly parentVersion: number;
  /** Of the lease under which it was made; 0: an operator's. */
  readonly epoch: number;
}

export interface SignableModel {
  /** SHA-256 of the model's bytes, 64 hex digits, and how many they are. */
  readonly digest: string;
  readonly bytes: number;
  /** For people, for example `flights.onnx`. */
  readonly name: string;
  readonly predicate: ModelProvenance;
}

export type ModelVerification =
  | { readonly ok: true; readonly keyId: string; readonly predicate: ModelProvenance }
  | { readonly ok: false; readonly reason: string };

const statement = z.object({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([z.object({ digest: z.object({ sha256: z.string() }) })]),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: z.object({
    line: z.string(),
    recipe: z.string(),
    runId: z.string(),
    datasetDigest: z.string(),
    featureDigest: z.string(),
    parentVersion: z.int().min(0),
    epoch: z.int().min(0),
  }),
});

/**
 * Signs a model: a DSSE envelope around an in-toto Statement v1 whose one subject is the model's bytes, as OpenSSF
 * Model Signing does it, with our own predicate. The key is an Ed25519 private key (`signingKey`, `signingKeySetting`).
 */
export function signModel({ digest, bytes, name, predicate }: SignableModel, privateKey: KeyObject): string {
  const signed = {
    _type: STATEMENT_TYPE,
    subject: [{ name, digest: { sha256: digest }, annotations: { bytes } }],
    predicateType: PREDICATE_TYPE,
    predicate,
  };
  return seal(PAYLOAD_TYPE, Buffer.from(JSON.stringify(signed)), privateKey);
}

/**
 * Whether a trusted key has signed the model of this digest, and what it says of it. The caller takes the digest from
 * the bytes that it is about to load. `trustedPublicKeysPem`: Ed25519 (`trustedKeysSetting`); a text that is no key throws,
 * because that is a wrong configuration and not a wrong model.
 */
export function verifyModel(
  envelopeJson: string,
  digest: string,
  trustedPublicKeysPem: readonly string[],
): ModelVerification {
  const opened = open(envelopeJson, PAYLOAD_TYPE, trustedPublicKeysPem);
  if (!opened.ok) return opened;
  const read = statement.safeParse(parsed(Buffer.from(opened.payload).toString("utf8")));
  if (!read.success) return { ok: false, reason: "it is signed, but no statement about one model" };
  const [subject] = read.data.subject;
  if (subject.digest.sha256 !== digest) {
    return {
      ok: false,
      reason: `it is about the model ${subject.digest.sha256.slice(0, 64)}, not ${digest}`,
    };
  }
  return { ok: true, keyId: opened.keyId, predicate: read.data.predicate };
}
