/**
 * The JSON messages on Kafka topics, one type per topic. Times are event times in milliseconds since the epoch
 * unless the name says otherwise. Readers ignore fields they do not know.
 */

/** `LINE.events`: one accepted event of any stream of the line, labels included, in one order per partition. */
export interface AcceptedEvent {
  readonly id: string;
  readonly stream: string;
  readonly time: number;
  /** The fields that the line declares, coerced to their declared types. Times are ms. */
  readonly data: Readonly<Record<string, FieldValue>>;
}
export type FieldValue = string | number | boolean | Claim | null;

/** What stands in an event for a blob or a long text: the object store holds the bytes under their digest. */
export interface Claim {
  /** SHA-256 of the bytes, 64 hex digits. */
  readonly sha256: string;
  readonly bytes: number;
  readonly mediaType: string;
}

/** `LINE.features`: the feature vector of one event. null where a value is not known. */
export interface FeatureVector {
  readonly id: string;
  readonly time: number;
  readonly values: readonly (number | null)[];
  /** Digest of the feature definition. */
  readonly features: string;
}

/** Version 1 of every line is its baseline: it answers with a constant until the first model is trained. */
export const BASELINE_VERSION = 1;

/** `LINE.predictions`: an answer with its receipt and, for comparison, those of the versions beside it. */
export interface Prediction {
  readonly id: string;
  readonly time: number;
  readonly score: number;
  /** The version that answered. */
  readonly version: number;
  /** Its artifact digest, and the digest of the feature definition. */
  readonly model: string;
  readonly features: string;
  /** Scores of the other loaded versions on the same row, for example `{"2": 0.31}`. */
  readonly shadows: Readonly<Record<string, number>>;
  readonly predictedAtMs: number;
  // Records of earlier times lack what follows.
  /** Digest of the dataset that the version learnt from; empty: none. */
  readonly dataset?: string;
  /** champion, challenger or shadow; and the probability with which it was chosen to answer. */
  readonly arm?: string;
  readonly propensity?: number;
  /** Trace of the call, 32 hex digits. */
  readonly trace?: string;
  /** Of interleaved rankings: the score that the row was shown with. */
  readonly shown?: number;
  /** stream: to a vector of `LINE.features`. call: to a direct request, whose values stand in `values`. */
  readonly origin?: "stream" | "call";
  /** null where a value was not known. */
  readonly values?: readonly (number | null)[];
}

/** `LINE.examples`: a feature vector as served, joined with its matured label. */
export interface Example {
  readonly id: string;
  readonly time: number;
  /** Event time at which the label was known: that of its event, or the end of the wait where silence means no. */
  readonly knownAt: number;
  readonly label: number;
  readonly values: readonly (number | null)[];
  readonly features: string;
  /** 0 for the first example of an event; a corrected label gives 1, 2, ... and each supersedes the one before. */
  readonly revision: number;
  /** How the label came to be: an event said it, or none came within the wait. */
  readonly labelled: "event" | "silence";
  /** Wall-clock ms at which the vector's event and the label's event were accepted: a set can be asked "as known at". */
  readonly vectorAcceptedAtMs: number;
  readonly labelAcceptedAtMs: number;
}

/** `LINE.drift`: evidence that the world has changed. */
export interface DriftReport {
  readonly id: string;
  readonly line: string;
  /** harm: the champion's loss grew. inputs: features are distributed differently; labels do not confirm yet. */
  readonly kind: "harm" | "inputs";
  /** Stream time of the report and estimated start of the change. */
  readonly time: number;
  readonly changeTime: number;
  readonly version: number;
  readonly statistic: number;
  readonly threshold: number;
  readonly reference: { readonly rows: number; readonly loss: number };
  readonly live: { readonly rows: number; readonly loss: number };
  /** Population stability index per feature, largest first. For people; it does not alarm by itself. */
  readonly shifts: readonly { readonly feature: string; readonly psi: number }[];
}

export type Trigger = "bootstrap" | "first" | "drift" | "stale" | "manual";

/** `training.decisions`: what the governor did about a trigger, and why. */
export interface Decision {
  readonly id: string;
  readonly line: string;
  readonly time: number;
  readonly cause: string;
  readonly trigger: Trigger;
  readonly outcome: "admitted" | "merged" | "delayed" | "refused";
  readonly reason: string;
  readonly runId: string | null;
  readonly decidedAtMs: number;
}

/** `training.progress`: one step of one candidate of one run. */
export interface Progress {
  readonly line: string;
  readonly runId: string;
  readonly stage: "build" | "train" | "judge" | "register" | "promote" | "end";
  /** For example `lightgbm/since-change`; empty when the stage is not about one candidate. */
  readonly candidate: string;
  readonly message: string;
  /** 0..1 of this stage, where known. */
  readonly done: number;
  readonly atMs: number;
}

/** `registry.changes`: every change of what is registered or serves. */
export interface RegistryChange {
  readonly line: string;
  readonly kind:
    | "applied"
    | "registered"
    | "promoted"
    | "rolled-back"
    | "rollout-started"
    | "rollout-changed"
    | "rollout-ended";
  readonly version: number;
  readonly generation: number;
  readonly reason: string;
  readonly atMs: number;
}

/** Quality of one set of scores on one set of labels. */
export interface Quality {
  readonly rows: number;
  readonly positives: number;
  readonly logLoss: number;
  readonly brier: number;
  readonly averagePrecision: number;
  readonly auc: number;
}

/** Live quality on matured labels: of what served, of the first model never retrained, and of knowing nothing. */
export interface LiveQuality {
  readonly rows: number;
  readonly positives: number;
  readonly serving: Quality;
  /** null until a first model is trained. */
  readonly first: Quality | null;
  /** Of answering with the share of positives always: its average precision is that share, its AUC 0.5. */
  readonly baseRate: { readonly averagePrecision: number };
}

/** The judge's verdict on a candidate; stored as evidence with the version. */
export interface Verdict {
  readonly passed: boolean;
  readonly reason: string;
  readonly candidate: Quality;
  /** null when nothing served before. */
  readonly champion: Quality | null;
  readonly baseRate: Quality;
  readonly gates: readonly {
    readonly gate: string;
    readonly passed: boolean;
    readonly value: number;
    readonly bound: number;
  }[];
  readonly heldOut: { readonly fromMs: number; readonly untilMs: number; readonly rows: number };
  /** All candidates that competed, best first. */
  readonly candidates: readonly {
    readonly name: string;
    readonly logLoss: number;
    readonly averagePrecision: number;
    readonly seconds: number;
  }[];
}

/** What every service answers on `GET /status`. Counts survive restarts (they live in the checkpoints). */
export interface ServiceStatus {
  readonly service: string;
  readonly state: "starting" | "running" | "draining" | "stopped" | "failed";
  readonly startedAtMs: number;
  readonly lines: Readonly<Record<string, LineStatus>>;
}
export interface LineStatus {
  /** For example accepted.departures, rejected, features, predictions, examples. */
  readonly counts: Readonly<Record<string, number>>;
  /** Records still to be read, by step. */
  readonly lag: Readonly<Record<string, number>>;
  /** Newest event time seen, ms. */
  readonly streamTimeMs: number;
  /** Whatever else the service shows to people, by name. */
  readonly details: Readonly<Record<string, unknown>>;
}
