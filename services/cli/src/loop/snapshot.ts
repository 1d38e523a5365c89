import type { Decision, LiveQuality, Progress, Verdict } from "@millrace/contracts";
import type { Part } from "../mesh.ts";
import type { FeatureDetails, Swap } from "./details.ts";
import type { Loop } from "./timeline.ts";

/** Everything that the live view shows, of one moment. */
export interface Snapshot {
  readonly nowMs: number;
  readonly startedAtMs: number;
  readonly zoneOffsetMinutes: number;
  /** What is going on before the line runs, for example `starting kafka`; empty afterwards. */
  readonly doing: string;
  readonly parts: readonly Part[];
  readonly line: { readonly name: string; readonly title: string };
  /** null: no player (the user's own producer). */
  readonly player: PlayerState | null;
  readonly counts: {
    readonly sent: number;
    readonly accepted: number;
    readonly rejected: number;
    readonly featured: number;
    readonly predicted: number;
    readonly labelled: number;
  };
  /** Accepted events per second of the wall clock. */
  readonly acceptedPerSecond: number;
  /** Records still to be read, by `service/step`. */
  readonly lag: Readonly<Record<string, number>>;
  readonly streamTimeMs: number;
  readonly champion: {
    readonly version: number;
    readonly recipe: string;
    readonly sinceMs: number;
    readonly trainedUntilMs: number;
  } | null;
  readonly firstVersion: number | null;
  readonly quality: { readonly window: LiveQuality | null; readonly champion: LiveQuality | null };
  readonly drift: NonNullable<FeatureDetails["drift"]> | null;
  /** Newest last. */
  readonly decisions: readonly Decision[];
  /** The newest step of the run under way; null: no run. */
  readonly training: Progress | null;
  readonly verdict: Verdict | null;
  readonly swap: Swap | null;
  readonly loop: Loop;
}

/** What the player says about itself. */
export interface PlayerState {
  readonly sent: number;
  readonly departures: number;
  readonly arrivals: number;
  /** Event time of the newest event sent, ms; 0 before the first. */
  readonly eventTimeMs: number;
  /** Event time of the injected change; null: none. */
  readonly shockTimeMs: number | null;
  /** Wall clock at which the first event at or after the shock was sent; null: not yet. */
  readonly shockedAtMs: number | null;
  readonly perSecond: number;
  readonly speed: number;
  readonly state: "playing" | "ended" | "stopped" | "restarting";
}
