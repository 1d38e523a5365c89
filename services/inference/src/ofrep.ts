import { createHash } from "node:crypto";
import { assign } from "@millrace/rollout";
import { divisionOf } from "./choose.ts";
import type { NodeLine } from "./line.ts";

/** What one evaluation answers, as HTTP says it. */
export interface Evaluated {
  readonly status: number;
  readonly json: unknown;
  readonly etag: string | null;
}

/** The arm of a rollout as a feature flag: a flag is a line, its value the version that answers the targeting key. */
export interface Flags {
  /** One flag, or all (null). `ifNoneMatch`: the ETag that the caller has. */
  evaluate(key: string | null, body: unknown, ifNoneMatch: string | undefined): Evaluated;
}

interface Failure {
  readonly key: string;
  readonly errorCode: string;
  readonly errorDetails: string;
}

/**
 * OpenFeature's remote evaluation protocol 0.3 (OFREP): `POST /ofrep/v1/evaluate/flags[/KEY]` with
 * `{"context": {"targetingKey": "..."}}`. The same key gets the same arm here and in ModelInfer with the parameter `unit`.
 */
export function createFlags(lines: ReadonlyMap<string, NodeLine>): Flags {
  return {
    evaluate: (key, body, ifNoneMatch) => {
      const targetingKey = targetingKeyOf(body);
      if (key !== null) {
        const line = lines.get(key);
        if (line === undefined) {
          const errorDetails = `no line of that name; lines here: ${[...lines.keys()].join(", ") || "none yet"}`;
          return failed(404, { key, errorCode: "FLAG_NOT_FOUND", errorDetails });
        }
        const flag = flagOf(line, targetingKey);
        return "errorCode" in flag ? failed(400, flag) : { status: 200, json: flag, etag: null };
      }
      const json = { flags: [...lines.values()].map((line) => flagOf(line, targetingKey)) };
      const etag = `"${createHash("sha256").update(JSON.stringify(json)).digest("hex").slice(0, 32)}"`;
      return etag === ifNoneMatch ? { status: 304, json: null, etag } : { status: 200, json, etag };
    },
  };
}

function failed(status: number, json: Failure): Evaluated {
  return { status, json, etag: null };
}

function targetingKeyOf(body: unknown): string | null {
  const context = (body as { readonly context?: unknown } | null)?.context;
  const key = (context as { readonly targetingKey?: unknown } | null | undefined)?.targetingKey;
  return typeof key === "string" && key !== "" ? key : null;
}

function flagOf({ name, controller }: NodeLine, targetingKey: string | null): object | Failure {
  const division = divisionOf(controller);
  const { champion } = controller;
  const metadata = { generation: controller.generation };
  if (champion === null) {
    return { key: name, errorCode: "GENERAL", errorDetails: "the line has no champion yet" };
  }
  if (division === null) {
    return { key: name, value: champion.version, variant: "champion", reason: "STATIC", metadata };
  }
  if (targetingKey === null) {
    const errorDetails = "a rollout runs: send context.targetingKey, a text that is not empty";
    return { key: name, errorCode: "TARGETING_KEY_MISSING", errorDetails };
  }
  const { arm, propensity } = assign(division.plan, targetingKey);
  return {
    key: name,
    value: arm.version,
    variant: arm.role,
    reason: "SPLIT",
    metadata: { ...metadata, propensity, strategy: division.strategy },
  };
}
