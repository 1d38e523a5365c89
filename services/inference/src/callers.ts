import { type Budgets, createBudgets } from "@millrace/admission";
import { type Authorise, bearerTokens, type GrpcCall, openOnLoopback, RpcError } from "@millrace/runtime";
import type { InferenceConfig } from "./config.ts";

/** Who may call, and how much each may ask for. */
export interface Callers {
  readonly authorise: Authorise;
  /** Spends a caller's budget of rows; throws the RpcError that tells when it may try again. */
  spend(call: GrpcCall, rows: number): void;
}

type CallerConfig = Pick<
  InferenceConfig,
  "MILLRACE_HOST" | "MILLRACE_INFERENCE_TOKEN" | "MILLRACE_INFERENCE_CALLERS" | "MILLRACE_INFERENCE_BUDGET"
>;

/** Budgets remembered; a caller that was forgotten begins anew. */
const CALLERS_MAX = 10_000;

/** Throws when the port would be open to others than this machine. */
export function callersOf(config: CallerConfig, now: () => number): Callers {
  const { MILLRACE_INFERENCE_TOKEN: token, MILLRACE_INFERENCE_CALLERS: named } = config;
  const perSecond = config.MILLRACE_INFERENCE_BUDGET;
  const tokens = [...(token === undefined ? [] : [token]), ...(named?.keys() ?? [])];
  const authorise = tokens.length === 0 ? openOnLoopback(config.MILLRACE_HOST) : bearerTokens(tokens);
  if (perSecond === 0) return { authorise, spend: () => {} };
  const budgets: Budgets = createBudgets({ perSecond, burst: perSecond, callersMax: CALLERS_MAX });
  return {
    authorise,
    spend: (call, rows) => {
      const waitMs = budgets.spend(callerOf(call, named), rows, now());
      if (waitMs === 0) return;
      const message = `your budget is spent: try again in ${waitMs} ms`;
      throw new RpcError("resourceExhausted", message, { retryAfterMs: waitMs });
    },
  };
}

/** The name that goes with the caller's token; without names its address. */
function callerOf(call: GrpcCall, named: ReadonlyMap<string, string> | undefined): string {
  const token = call.metadata("authorization")?.slice("Bearer ".length) ?? "";
  return named?.get(token) ?? call.peer.replace(/:\d+$/, "");
}
