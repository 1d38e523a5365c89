import type { InferRequest, InferResponse } from "@millrace/open-inference";
import { type GrpcCall, isSampled, type RpcError, recordSpans, SpanKind } from "@millrace/runtime";
import type { Handle, Priority, Spent } from "@millrace/serving";
import { asRpcError, outcomeOf } from "./failure.ts";
import type { NodeLine } from "./line.ts";
import type { InferDone, PredictPorts } from "./predict.ts";
import type { ModelStatistics } from "./statistics.ts";

/** What is known of a request when it arrives. Times are monotonic ms. */
export interface Arrival {
  readonly request: InferRequest;
  readonly call: GrpcCall;
  readonly line: NodeLine;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly priority: Priority;
  readonly done: InferDone;
}

const METHOD = "inference.GRPCInferenceService/ModelInfer";

/** A request on its way: it ends exactly once, with an answer or an error, and then holds and counts for nothing any more. */
export class Inference {
  readonly request: InferRequest;
  readonly call: GrpcCall;
  readonly line: NodeLine;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly priority: Priority;
  /** W3C traceparent of the caller; empty when it sent none. */
  readonly traceparent: string;
  readonly #ports: PredictPorts;
  readonly #done: InferDone;
  #handle: Handle | null = null;
  #beside: Handle | null = null;
  #statistics: ModelStatistics | null = null;
  #isEnded = false;

  constructor(ports: PredictPorts, arrival: Arrival) {
    this.request = arrival.request;
    this.call = arrival.call;
    this.line = arrival.line;
    this.arrivedAt = arrival.arrivedAt;
    this.deadlineAt = arrival.deadlineAt;
    this.priority = arrival.priority;
    this.traceparent = arrival.call.metadata("traceparent") ?? "";
    this.#ports = ports;
    this.#done = arrival.done;
  }

  /** Whether the node takes it; where not, it has ended. */
  enter(): boolean {
    const refused = this.#ports.load.enter(this.priority);
    if (refused === null) return true;
    this.#isEnded = true;
    this.#report(refused, 0);
    return false;
  }

  /** Keeps the version that answers until the end. */
  hold(handle: Handle): void {
    this.#handle = handle;
    this.#statistics = this.line.statisticsOf(handle.of.version);
    this.#statistics.inFlight++;
  }

  /** Keeps a second version until the end. */
  holdBeside(handle: Handle): void {
    this.#beside = handle;
  }

  answer(response: InferResponse, rows: number, spent: Spent): void {
    if (this.#isEnded) return;
    const ms = spent.endedAt - this.arrivedAt;
    this.#statistics?.answered(ms, rows, spent, this.#ports.clock.now());
    this.line.requests.answered++;
    if (this.traceparent !== "") this.#trace(ms, spent, null);
    this.#end(null, response);
  }

  fail(cause: unknown): void {
    if (this.#isEnded) return;
    const error = asRpcError(cause);
    const version = this.#handle?.of.version ?? 0;
    if (error.code === "internal") this.#ports.onDefect(this.line.name, version, error.cause ?? error);
    this.#isEnded = true;
    this.#letGo();
    this.#report(error, version);
  }

  #end(error: RpcError | null, response: InferResponse | null): void {
    this.#isEnded = true;
    // The handle goes last: the answer may be a view of what the model gave.
    try {
      this.#done(error, response);
    } finally {
      this.#letGo();
    }
  }

  #letGo(): void {
    this.#ports.load.leave();
    if (this.#statistics !== null) this.#statistics.inFlight--;
    this.#handle?.release();
    this.#beside?.release();
  }

  #report(error: RpcError, version: number): void {
    const ms = this.#ports.now() - this.arrivedAt;
    const outcome = outcomeOf(error);
    this.line.requests[outcome]++;
    this.line.statisticsOf(version).ended(outcome, ms);
    if (this.traceparent !== "") this.#trace(ms, null, error);
    this.#done(error, null);
  }

  /** Spans, where the caller's trace is recorded: the whole, its wait and its run. */
  #trace(ms: number, spent: Spent | null, error: RpcError | null): void {
    if (!isSampled(this.traceparent)) return;
    const attributes = {
      "rpc.system.name": "grpc",
      "rpc.method": METHOD,
      "millrace.line": this.line.name,
      "millrace.version": this.#handle?.of.version ?? 0,
    };
    const whole = { name: METHOD, kind: SpanKind.SERVER, startedAt: this.arrivedAt, ms, attributes };
    if (spent === null) {
      return recordSpans(this.traceparent, { ...whole, error: error?.message ?? "" }, []);
    }
    const { queueMs, computeMs, batchRows, endedAt } = spent;
    const computedAt = endedAt - computeMs;
    recordSpans(this.traceparent, whole, [
      { name: "inference queue", startedAt: computedAt - queueMs, ms: queueMs },
      {
        name: "inference compute",
        startedAt: computedAt,
        ms: computeMs,
        attributes: { "millrace.batch_rows": batchRows },
      },
    ]);
  }
}
