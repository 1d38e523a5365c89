import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ModelProvenance,
  signingKey,
  signingKeySetting,
  signModel,
  trustedKeysSetting,
  verifyModel,
} from "./index.ts";
import { trustedKeys } from "./keys.ts";

const pem = (key: KeyObject): string => key.export({ format: "pem", type: "spki" }).toString();
const spki = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" });
const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex");

const ours = generateKeyPairSync("ed25519");
const theirs = generateKeyPairSync("ed25519");
const TRUSTED = [pem(theirs.publicKey), pem(ours.publicKey)];
const DIGEST = sha256("model");
const PREDICATE: ModelProvenance = {
  line: "flights",
  recipe: "lightgbm",
  runId: "r-1",
  datasetDigest: sha256("dataset"),
  featureDigest: sha256("features"),
  parentVersion: 3,
  epoch: 7,
};
const MODEL = { digest: DIGEST, bytes: 5, name: "flights.onnx", predicate: PREDICATE };
const ENVELOPE = signModel(MODEL, ours.privateKey);

interface Envelope {
  payloadType: string;
  payload: string;
  signatures: { keyid: string; sig: string }[];
}
const parts = (): Envelope => JSON.parse(ENVELOPE) as Envelope;
const statementOf = ({ payload }: Envelope): any =>
  JSON.parse(Buffer.from(payload, "base64").toString("utf8"));

/** DSSE's pre-authentication encoding, written down a second time. */
const encoded = (type: string, payload: Buffer): Buffer =>
  Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} ${payload.toString("latin1")}`, "latin1");

/** An envelope that is signed well around any payload. */
function signed(payload: string, type = "application/vnd.in-toto+json", key = ours): string {
  const bytes = Buffer.from(payload);
  const envelope: Envelope = {
    payloadType: type,
    payload: bytes.toString("base64"),
    signatures: [
      {
        keyid: sha256(spki(key.publicKey)),
        sig: sign(null, encoded(type, bytes), key.privateKey).toString("base64"),
      },
    ],
  };
  return JSON.stringify(envelope);
}

function restated(change: (statement: any) => unknown): string {
  const statement = statementOf(parts());
  change(statement);
  return signed(JSON.stringify(statement));
}

const reasonOf = (envelope: string, digest = DIGEST, trusted: readonly string[] = TRUSTED): string => {
  const answer = verifyModel(envelope, digest, trusted);
  return answer.ok ? "accepted" : answer.reason;
};

describe("signModel", () => {
  it("is accepted with its predicate, by whichever of the trusted keys signed it", () => {
    const keyId = sha256(spki(ours.publicKey));
    expect(verifyModel(ENVELOPE, DIGEST, TRUSTED)).toEqual({ ok: true, keyId, predicate: PREDICATE });
    expect(verifyModel(signModel(MODEL, theirs.privateKey), DIGEST, TRUSTED).ok).toBe(true);
  });

  it("gives the same envelope again for the same model", () => {
    expect(signModel(MODEL, ours.privateKey)).toBe(ENVELOPE);
  });

  it("is a DSSE envelope around an in-toto statement, as anybody else can verify it", () => {
    const envelope = parts();
    expect(statementOf(envelope)).toEqual({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "flights.onnx", digest: { sha256: DIGEST }, annotations: { bytes: 5 } }],
      predicateType: "urn:millrace:model-provenance:v1",
      predicate: PREDICATE,
    });
    const payload = Buffer.from(envelope.payload, "base64");
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? "", "base64");
    const message = encoded(envelope.payloadType, payload);
    expect(verify(null, message, createPublicKey(pem(ours.publicKey)), signature)).toBe(true);
    expect(signed(payload.toString("utf8"))).toBe(ENVELOPE);
  });
});

describe("verifyModel", () => {
  it("refuses every flip of a bit, anywhere in the envelope", () => {
    for (let at = 0; at < ENVELOPE.length; at++) {
      for (let bit = 0; bit < 7; bit++) {
        const flipped = String.fromCharCode(ENVELOPE.charCodeAt(at) ^ (1 << bit));
        const text = ENVELOPE.slice(0, at) + flipped + ENVELOPE.slice(at + 1);
        expect(reasonOf(text), `bit ${bit} of character ${at}`).not.toBe("accepted");
      }
    }
  });

  it("never throws, whatever the text", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => reasonOf(text) !== "accepted"));
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => reasonOf(signed(text)) !== "accepted"));
  });

  it.each<[string, string, RegExp]>([
    ["nothing", "", /no DSSE envelope/],
    ["no signature", JSON.stringify({ ...parts(), signatures: [] }), /no DSSE envelope/],
    ["another payload type", signed("{}", "text/plain"), /the payload is "text\/plain"/],
    ["a payload that is not base64", JSON.stringify({ ...parts(), payload: "%" }), /not base64/],
    ["an oversized envelope", ENVELOPE.padEnd(70_000), /70000 characters, more than 65536/],
    [
      "nine signatures",
      JSON.stringify({ ...parts(), signatures: Array(9).fill(parts().signatures[0]) }),
      /no DSSE/,
    ],
    ["a statement that is none", signed("[]"), /no statement about one model/],
    ["two subjects", restated((one) => one.subject.push(one.subject[0])), /no statement about one model/],
    ["no subject", restated((one) => (one.subject = [])), /no statement about one model/],
    ["another predicate", restated((one) => (one.predicateType = "x")), /no statement about one model/],
    ["a predicate without a line", restated((one) => delete one.predicate.line), /no statement/],
    ["another model", restated((one) => (one.subject[0].digest.sha256 = sha256("x"))), /about the model/],
  ])("refuses %s", (_what, envelope, reason) => {
    expect(reasonOf(envelope)).toMatch(reason);
  });

  it("refuses another model, an unknown key, and a known key's name on another's signature", () => {
    expect(reasonOf(ENVELOPE, sha256("other"))).toMatch(/about the model .*, not /);
    expect(reasonOf(ENVELOPE, DIGEST, [pem(theirs.publicKey)])).toMatch(/no trusted key has signed it/);
    expect(reasonOf(ENVELOPE, DIGEST, [])).toMatch(/no trusted key has signed it/);
    const forged = parts();
    (forged.signatures[0] as { keyid: string }).keyid = sha256(spki(theirs.publicKey));
    expect(reasonOf(JSON.stringify(forged))).toMatch(/does not fit/);
  });

  it("takes one good signature beside others, as while keys are exchanged", () => {
    const two = parts();
    two.signatures.unshift({ keyid: sha256("gone"), sig: "AAAA" });
    expect(reasonOf(JSON.stringify(two))).toBe("accepted");
  });
});

describe("keys in settings", () => {
  const privatePem = ours.privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const rsa = generateKeyPairSync("rsa", { modulusLength: 1_024 });

  it("are read as PEM and as base64", () => {
    for (const text of [privatePem, Buffer.from(privatePem).toString("base64")]) {
      expect(signModel(MODEL, signingKey(text))).toBe(ENVELOPE);
    }
    const two = `${spki(theirs.publicKey).toString("base64")}, ${spki(ours.publicKey).toString("base64")}`;
    expect(trustedKeys(two)).toEqual(TRUSTED);
    expect(trustedKeys("")).toEqual([]);
  });

  it("are settings, which may be absent, and whose private part is not shown", () => {
    const key = signingKeySetting.parse(privatePem) as KeyObject;
    expect(signModel(MODEL, key)).toBe(ENVELOPE);
    expect(JSON.stringify({ key })).toBe('{"key":{}}');
    expect([signingKeySetting.parse(undefined), trustedKeysSetting.parse(undefined)]).toEqual([
      undefined,
      [],
    ]);
    const wrong = [signingKeySetting.safeParse("secret"), trustedKeysSetting.safeParse("x")];
    expect(wrong.map(({ error }) => error?.issues[0]?.message)).toEqual([
      expect.stringMatching(/^not an Ed25519 private key/),
      expect.stringMatching(/^key 1 is not an Ed25519 public key/),
    ]);
  });

  it("are refused when they are none, or of another kind, without showing them", () => {
    const rsaPem = rsa.privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    for (const text of ["secret", rsaPem]) {
      expect(() => signingKey(text)).toThrow(
        /^not an Ed25519 private key: give PEM \(PKCS #8\), or the base64 of it$/,
      );
    }
    const good = spki(ours.publicKey).toString("base64");
    for (const text of ["x", spki(rsa.publicKey).toString("base64")]) {
      expect(() => trustedKeys(`${good},${text}`)).toThrow(/^key 2 is not an Ed25519 public key/);
    }
  });
});
