import { featureApi } from "@millrace/contracts";
import { wholeNumber } from "./check.ts";
import type { Unary } from "./grpc-channel.ts";
import { checkFeatureDigest, type Line } from "./line.ts";
import type { CallOptions } from "./retry.ts";

/** An event as its producer would send it: its vector if it came now. Or an entity: its vector without an event. */
export type FeatureQuery<Event, Entity> = { readonly event: Event } | { readonly entity: Entity };

export interface FeatureValues<Features> {
  /** By name; null: not known. */
  readonly values: Features;
  readonly featureDigest: string;
  /** Event time of the newest event in the online state, ms since the epoch. */
  readonly asOfMs: number;
  /** Event time of the newest event of the query's keys, and how old it is, ms; null: there is none. */
  readonly updatedMs: number | null;
  readonly ageMs: number | null;
}

export interface FeatureOptions extends CallOptions {
  /** Event time that the vector is for, ms since the epoch. Default: the event's; for an entity the stream's now. */
  readonly timeMs?: number;
}

/** Online features. */
export interface Features {
  /** Throws FAILED_PRECONDITION where the line has other features by now than its types were made of. */
  get<
    Event extends object = Readonly<Record<string, unknown>>,
    Entity extends object = Readonly<Record<string, unknown>>,
    Values extends object = Readonly<Record<string, number | null>>,
  >(
    line: Line<Event, Entity, Values> | string,
    query: NoInfer<FeatureQuery<Event, Entity>>,
    options?: FeatureOptions,
  ): Promise<FeatureValues<Values>>;
}

/** `features` over gRPC. */
export function featuresVia(unary: Unary): Features {
  return {
    get: async <Values extends object>(
      line: Line<object, object, Values> | string,
      query: FeatureQuery<object, object>,
      options: FeatureOptions = {},
    ): Promise<FeatureValues<Values>> => {
      const { names, values, featureDigest, asOfMs, updatedMs, ageMs } = await unary(
        featureApi.FeatureService.method.getVector,
        {
          line: typeof line === "string" ? line : line.name,
          eventJson: "event" in query ? JSON.stringify(query.event) : "",
          entityJson: "entity" in query ? JSON.stringify(query.entity) : "",
          timeMs: wholeNumber("timeMs", options.timeMs ?? 0),
        },
        options,
      );
      if (typeof line !== "string") checkFeatureDigest(line, featureDigest);
      const known = values.map((value, i) => [names[i] ?? "", Number.isNaN(value) ? null : value] as const);
      return {
        values: Object.fromEntries(known) as Values,
        featureDigest,
        asOfMs: Number(asOfMs),
        updatedMs: ageMs < 0n ? null : Number(updatedMs),
        ageMs: ageMs < 0n ? null : Number(ageMs),
      };
    },
  };
}
