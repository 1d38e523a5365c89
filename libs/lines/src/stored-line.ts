import { ROLLOUT, SERVE } from "./defaults.ts";
import type { LineDefinition } from "./definition.ts";

type Stored = Omit<LineDefinition, "serve" | "rollout"> & Partial<Pick<LineDefinition, "serve" | "rollout">>;

/**
 * A definition that was checked before it was stored. One of earlier times lacks the sections that came later: they
 * have their defaults. What comes from elsewhere goes through `checkLine`.
 */
export function storedLine(definitionJson: string): LineDefinition {
  const stored = JSON.parse(definitionJson) as Stored;
  return { ...stored, serve: stored.serve ?? SERVE, rollout: stored.rollout ?? ROLLOUT };
}
