import type { KeyObject } from "node:crypto";
import { z } from "zod";
import { signingKey, trustedKeys } from "./keys.ts";

/** MILLRACE_TRUSTED_KEYS, for a service's own shape: PEM, as `verifyModel` takes them; none unless it is set. */
export const trustedKeysSetting: z.ZodType<readonly string[]> = z
  .string()
  .default("")
  .transform(orIssue(trustedKeys))
  .describe("Ed25519 keys whose signature a model needs: base64 of SPKI DER, separated by commas");

/** MILLRACE_SIGNING_KEY, for a service's own shape. The value does not show the key when it is logged. */
export const signingKeySetting: z.ZodType<KeyObject | undefined> = z
  .string()
  .transform(orIssue(signingKey))
  .optional()
  .describe("Ed25519 key that signs models: PEM (PKCS #8), or the base64 of it");

function orIssue<T>(read: (text: string) => T): (text: string, context: z.RefinementCtx) => T {
  return (text, context) => {
    try {
      return read(text);
    } catch (error) {
      context.addIssue((error as Error).message);
      return z.NEVER;
    }
  };
}
