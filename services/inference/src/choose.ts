import { randomUUID } from "node:crypto";
import { canonicalJson } from "@millrace/contracts";
import { type InferRequest, quoted } from "@millrace/open-inference";
import { assign } from "@millrace/rollout";
import { RpcError } from "@millrace/runtime";
import type { Division, Handle, SwapController } from "@millrace/serving";
import type { NodeLine } from "./line.ts";
import { PARAMETER } from "./request.ts";

/** Which part of a rollout answers, and with what probability it was chosen. */
export interface Arm {
  readonly role: string;
  readonly propensity: number;
}

/** Who answers where nothing is divided. */
export const CHAMPION: Arm = { role: "champion", propensity: 1 };

export interface Chosen {
  readonly handle: Handle;
  readonly arm: Arm;
}

/** The version that a request falls to, held for it. */
export function choose(line: NodeLine, request: InferRequest): Chosen {
  const { controller } = line;
  const { modelVersion: asked } = request;
  const division = asked === "" ? divisionOf(controller) : null;
  if (division !== null) {
    const { arm, propensity } = assign(division.plan, unitOf(request, division.by));
    const handle = controller.acquire(arm.version);
    if (handle !== null) return { handle, arm: { role: arm.role, propensity } };
  }
  const handle = acquireVersion(line, asked);
  if (asked === "") return { handle, arm: CHAMPION };
  return { handle, arm: { role: controller.roleOf(handle.of.version) ?? "", propensity: 1 } };
}

/** A loaded version, "" the champion, held. Throws an RpcError. */
export function acquireVersion(line: NodeLine, asked: string): Handle {
  const version = asked === "" ? undefined : versionOf(line, asked);
  const handle = version === null ? null : line.controller.acquire(version);
  if (handle !== null) return handle;
  if (asked !== "") throw notLoaded(line, asked);
  throw new RpcError("unavailable", `line ${quoted(line.name)} has no champion yet`, { retryAfterMs: 1_000 });
}

/** How single answers are divided now; null: the champion gives them all. A rollout that interleaves divides rankings. */
export function divisionOf({ division }: SwapController): Division | null {
  return division?.strategy === "interleave" ? null : division;
}

/** What a rollout divides by: the entity or whatever the caller says, else the request itself. */
export function unitOf(request: InferRequest, by: "request" | "entity"): string {
  const { parameters, id } = request;
  const unit = parameters.get(PARAMETER.unit);
  if (unit !== undefined) return String(unit);
  const entity = by === "entity" ? parameters.get(PARAMETER.entity) : undefined;
  if (entity !== undefined) return canonicalEntity(String(entity));
  return id === "" ? randomUUID() : id;
}

/** One text for one entity, however its JSON is written. */
function canonicalEntity(text: string): string {
  try {
    return canonicalJson(JSON.parse(text));
  } catch {
    return text; // refused when it is looked up
  }
}

/** The version that a text names: its number, or what it is for (`champion`, `challenger`, `shadow`). null: none. */
export function versionOf(line: NodeLine, text: string): number | null {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  return (
    line.controller.loaded.find(({ version }) => line.controller.roleOf(version) === text)?.version ?? null
  );
}

export function notLoaded(line: NodeLine, version: string): RpcError {
  const loaded = line.controller.loaded.map((model) => model.version).join(", ") || "none";
  return new RpcError(
    "notFound",
    `model_version: version ${quoted(version)} of line ${quoted(line.name)} is not loaded; loaded: ${loaded}`,
  );
}
