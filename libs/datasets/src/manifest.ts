import { canonicalJson, type Trigger } from "@millrace/contracts";
import type { Block } from "./blocks.ts";
import type { KnownBy } from "./known.ts";
import type { Profile } from "./profile.ts";
import type { Finding } from "./validate.ts";

export const MANIFEST_FORMAT = "millrace.dataset/2";

/**
 * The immutable record of a dataset. It names its blocks by digest, so that the same rows can be found again for as
 * long as the blocks are kept. The SHA-256 of `manifestText` is the dataset's digest.
 */
export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly line: string;
  readonly topic: string;
  /** Name of the label. */
  readonly label: string;
  readonly featureDigest: string;
  /** In model order. */
  readonly featureNames: readonly string[];
  readonly blocks: readonly Block[];
  /**
   * Rows of the blocks that belong to the dataset: of each event (id and time) the one with the highest `revision`
   * among those with known_at <= knownAtMs and, unless acceptedAtMs is null, vector_accepted_at <= acceptedAtMs and
   * label_accepted_at <= acceptedAtMs (`newestKnown`); of these the ones with fromMs <= time < untilMs.
   */
  readonly filter: { readonly fromMs: number; readonly untilMs: number } & KnownBy;
  /** Estimated start of the change that the run reacts to, event time ms; null when there is none. */
  readonly changeMs: number | null;
  /** Rows with an earlier event time are for training, the others for judging. */
  readonly heldOutFromMs: number;
  readonly rows: number;
  readonly positives: number;
  readonly training: Profile;
  readonly heldOut: Profile;
  readonly findings: readonly Finding[];
  /** Why it was made. */
  readonly cause: { readonly runId: string; readonly trigger: Trigger; readonly cause: string };
}

/** The manifest as canonical JSON: equal manifests have equal text. */
export function manifestText(manifest: Manifest): string {
  return canonicalJson(manifest);
}

/**
 * Reads a manifest whose digest has been verified. Throws a TypeError when the text is of another format, for
 * example one of a later version.
 */
export function parseManifest(text: string): Manifest {
  const value = JSON.parse(text) as { readonly format?: unknown };
  if (value.format !== MANIFEST_FORMAT) {
    throw new TypeError(
      `a dataset manifest of format ${String(value.format)}: this reads ${MANIFEST_FORMAT}`,
    );
  }
  return value as Manifest;
}
