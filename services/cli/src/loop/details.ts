import type { DriftReport, LiveQuality, ServiceStatus } from "@millrace/contracts";

/** `details` of the feature service: live quality of the newest labels, and of each version on its own predictions. */
export interface FeatureDetails {
  readonly quality?: {
    readonly window: LiveQuality | null;
    readonly byVersion: Readonly<Record<string, LiveQuality>>;
  };
  readonly drift?: {
    readonly version: number;
    /** Evidence that multiplies with each label that speaks for harm: 1 says nothing, `threshold` alarms. */
    readonly statistic: number;
    readonly threshold: number;
    readonly rows: number;
    /** Where the champion is wrong most, in words; null before it is watched. */
    readonly slice?: string | null;
    readonly referenceLoss: number;
    readonly liveLoss: number;
    readonly shifts: readonly { readonly feature: string; readonly psi: number }[];
    readonly lastReport: DriftReport | null;
  };
}

/** `details` of the inference service. */
export interface InferenceDetails {
  readonly champion?: number;
  readonly generation?: number;
  readonly lastSwap?: Swap | null;
}

/** One swap of generations: when the new one served, and how long each stage took. */
export interface Swap {
  /** null: nothing serves any more. */
  readonly version: number | null;
  readonly atMs: number;
  readonly ms: Readonly<Record<string, number>>;
}

/** The details of a line in a service's status; {} when the service does not know the line (yet). */
export function detailsOf<T>(status: ServiceStatus | null | undefined, line: string): Partial<T> {
  return (status?.lines[line]?.details ?? {}) as Partial<T>;
}

/** Sum of a count of a line; 0 where it is not known. */
export function countOf(status: ServiceStatus | null | undefined, line: string, name: string): number {
  return status?.lines[line]?.counts[name] ?? 0;
}
