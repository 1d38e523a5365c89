/**
 * Signatures over models: who made these bytes, of what, and for which line.
 * `keys.ts` Ed25519 keys as settings and files hold them, `settings.ts` those settings; `envelope.ts` the DSSE
 * envelope, which knows nothing of models; `model-signature.ts` the in-toto statement about one model, signed and
 * verified.
 *
 * Invariants
 * S1 What `verifyModel` accepts was signed, byte for byte, by the holder of a trusted key, for this digest.
 * S2 Whatever text is given as an envelope, the answer is a reason, never an exception.
 * S3 The same model, predicate and key give the same envelope, so that a repeated registration is the same one.
 */

export { signingKey } from "./keys.ts";
export {
  type ModelProvenance,
  type ModelVerification,
  type SignableModel,
  signModel,
  verifyModel,
} from "./model-signature.ts";
export { signingKeySetting, trustedKeysSetting } from "./settings.ts";
