import type { ConcurrencyLimit } from "@millrace/admission";
import { RpcError } from "@millrace/runtime";
import type { Priority } from "@millrace/serving";

/** How many requests this node has under way, and whether it takes more. Whoever enters leaves, whatever happens. */
export interface NodeLoad {
  /** Takes a request, or says why not. */
  enter(priority: Priority): RpcError | null;
  leave(): void;
  /** A request was answered that took `ms` from the moment it waited for its model. */
  observe(ms: number): void;
  /** Why no request at all is taken now; null: some are. Cheap: asked before a request is read. */
  refusal(): RpcError | null;
  /** Requests that `refusal` has turned away since the start of the process. */
  readonly shed: number;
}

/** Of the requests that may be under way, the part that is open to each priority: who matters most finds room last. */
const OPEN_TO = [1, 0.9, 0.7] as const;
const RETRY_MS = 50;
const TOO_MANY = RpcError.refusal(
  "resourceExhausted",
  "too many requests are under way: slow down and try again",
  RETRY_MS,
);

export function createNodeLoad(limit: ConcurrencyLimit): NodeLoad {
  let underWay = 0;
  let shed = 0;
  return {
    enter: (priority) => {
      if (underWay >= limit.limit * OPEN_TO[priority]) return TOO_MANY;
      underWay++;
      return null;
    },
    leave: () => {
      underWay--;
    },
    observe: (ms) => limit.observe(ms, underWay),
    refusal: () => {
      if (underWay < limit.limit) return null;
      shed++;
      return TOO_MANY;
    },
    get shed() {
      return shed;
    },
  };
}
