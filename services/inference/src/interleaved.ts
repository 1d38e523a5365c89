import type { InferRequest, Tensor } from "@millrace/open-inference";
import { interleave, type Role } from "@millrace/rollout";
import type { Handle, VersionModel } from "@millrace/serving";
import { type Arm, unitOf } from "./choose.ts";
import type { NodeLine } from "./line.ts";

/** The challenger of a rollout that interleaves rankings, held for one request. */
export interface Partner {
  readonly handle: Handle;
  readonly salt: string;
  readonly unit: string;
}

/** One ranking made of two. */
export interface Interleaved {
  /** The champion's scores, dealt out again so that who sorts by them sees the interleaved order. */
  readonly shown: Tensor;
  /** Which version gave each row its place. */
  readonly teams: readonly Role[];
  readonly challenger: { readonly of: VersionModel; readonly scores: Float32Array };
  readonly arm: Arm;
}

/** The partner of a request whose rows are to be ranked; null where no rollout interleaves. */
export function acquirePartner(line: NodeLine, request: InferRequest): Partner | null {
  const { division } = line.controller;
  if (request.modelVersion !== "" || division?.strategy !== "interleave") return null;
  const [, challenger] = division.plan.arms;
  const handle = line.controller.acquire(challenger.version);
  return handle && { handle, salt: division.plan.salt, unit: unitOf(request, division.by) };
}

/**
 * Interleaves two rankings of the same rows (team draft). null where one of them does not rank: scores are missing or no
 * numbers.
 */
export function interleaveScores(
  { handle, salt, unit }: Partner,
  champion: Tensor | undefined,
  challenger: Tensor | undefined,
): Interleaved | null {
  const own = champion?.data;
  const other = challenger?.data;
  if (!(own instanceof Float32Array) || !(other instanceof Float32Array) || own.length !== other.length)
    return null;
  if (![own, other].every((scores) => scores.every(Number.isFinite))) return null;
  const ranking = (scores: Float32Array): number[] =>
    Array.from(scores, (_, row) => row).sort((a, b) => (scores[b] as number) - (scores[a] as number));
  const drawn = interleave({
    champion: ranking(own),
    challenger: ranking(other),
    salt,
    unit,
    length: own.length,
  });
  const sorted = own.toSorted().reverse();
  const data = new Float32Array(own.length);
  const teams = new Array<Role>(own.length);
  drawn.items.forEach((row, place) => {
    data[row] = sorted[place] as number;
    teams[row] = drawn.teams[place] as Role;
  });
  return {
    shown: { ...(champion as Tensor), data },
    teams,
    challenger: { of: handle.of, scores: other },
    arm: { role: "interleaved", propensity: drawn.propensity },
  };
}
