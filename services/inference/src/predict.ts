import type { ConcurrencyLimit } from "@millrace/admission";
import {
  type InferRequest,
  type InferResponse,
  type Parameters,
  quoted,
  type Tensor,
} from "@millrace/open-inference";
import { type GrpcCall, isSampled, RpcError, recordSpans, SpanKind, withDeadline } from "@millrace/runtime";
import { featureTensor, type Handle, type Priority, type Spent } from "@millrace/serving";
import { type Arm, type Chosen, choose } from "./choose.ts";
import { asRpcError, outcomeOf } from "./failure.ts";
import { acquirePartner, interleaveScores, type Partner } from "./interleaved.ts";
import type { NodeLine } from "./line.ts";
import { receiptOf, traceIdOf } from "./receipt.ts";
import {
  asFeatures,
  checkFeatures,
  checkOutputs,
  deadlineOf,
  entityOf,
  inOrder,
  PARAMETER,
  priorityOf,
  rowsOf,
  selectOutputs,
} from "./request.ts";
import type { Outcome } from "./statistics.ts";

/** The features of an entity now, as the online store has them. */
export interface EntityVector {
  readonly values: readonly number[];
  readonly featureDigest: string;
  /** Age in ms of the newest event that they rest on; -1: there is none. */
  readonly ageMs: number;
}

/** One answered row of a line's model, for the log of predictions. */
export interface Answered {
  readonly line: string;
  /** Empty where the caller gave none. */
  readonly id: string;
  readonly handle: Handle;
  readonly arm: Arm;
  /** Of interleaved rankings: which version gave each row its place; null of all others. */
  readonly teams: readonly string[] | null;
  readonly input: Tensor;
  readonly scores: Float32Array;
  readonly traceId: string;
}

export interface PredictPorts {
  readonly line: (name: string) => NodeLine | undefined;
  readonly lineNames: () => readonly string[];
  /** Looks an entity up in the online store. `entity`: JSON of its key fields. Rejects with an RpcError. */
  readonly entityVector: (line: string, entity: string, deadlineAt: number) => Promise<EntityVector>;
  /** How many requests may be in flight. */
  readonly limit: ConcurrencyLimit;
  /** Spends a caller's budget; throws the RpcError that tells when it may try again. */
  readonly spend: (call: GrpcCall, rows: number) => void;
  /** Called when a model fails where it should not. */
  readonly onDefect: (line: string, version: number, error: unknown) => void;
  /** Called after an answer, with what may be logged and mirrored; must not throw and not wait. */
  readonly onAnswered: (answered: Answered) => void;
  /** Wall-clock ms. */
  readonly clock: { now(): number };
  /** Monotonic ms. */
  readonly now: () => number;
}

export type InferDone = (error: RpcError | null, response: InferResponse | null) => void;

export interface Predictor {
  /** Answers one request; calls `done` once. Never throws. */
  infer(request: InferRequest, call: GrpcCall, done: InferDone): void;
  /** Why no request at all is taken now, whatever its priority; null: some are. Cheap: asked before a request is read. */
  refusal(): RpcError | null;
  /** Requests that were refused so since the start of the process. */
  readonly shed: number;
}

const METHOD = "inference.GRPCInferenceService/ModelInfer";
/** Of the requests that may be in flight, the part that is open to each priority: who matters most finds room last. */
const OPEN_TO = [1, 0.9, 0.7] as const;
const TOO_MANY = RpcError.refusal(
  "resourceExhausted",
  "too many requests are in flight: slow down and try again",
  50,
);

/** What is known of a request while it is on its way. */
interface Course {
  readonly request: InferRequest;
  readonly call: GrpcCall;
  readonly line: NodeLine;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly priority: Priority;
  /** W3C traceparent of the caller; empty when it sent none. */
  readonly traceparent: string;
  readonly done: InferDone;
}

/** A request whose version is chosen and whose inputs fit. */
interface Going extends Chosen {
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  /** Parameters that this answer alone has. */
  readonly extra: Parameters | null;
  /** Whose ranking is interleaved with the champion's. */
  readonly partner: Partner | null;
  readonly teams?: readonly string[];
}

type JobDone = (error: Error | null, outputs: readonly Tensor[], spent: Spent) => void;

/**
 * Answers inference requests, whichever way they came: a model is a line, its version "" the champion (or, while a
 * rollout runs, the arm that the request falls to), "N" a version loaded beside it, or an alias.
 */
export function createPredictor(ports: PredictPorts): Predictor {
  const { now, limit } = ports;
  let inFlight = 0;
  let shed = 0;

  const lineOf = (name: string): NodeLine => {
    const line = ports.line(name);
    if (line !== undefined) return line;
    const known = ports.lineNames().join(", ") || "none yet";
    throw new RpcError("notFound", `model_name: no line ${quoted(name)}; lines here: ${known}`);
  };

  const end = (course: Course, version: number, outcome: Outcome, error: RpcError): void => {
    const { line, arrivedAt, done } = course;
    const ms = now() - arrivedAt;
    line.requests[outcome]++;
    line.statisticsOf(version).ended(outcome, ms);
    trace(course, ms, null, error);
    done(error, null);
  };

  const fail = (course: Course, version: number, error: unknown): void => {
    const known = asRpcError(error);
    if (known.code === "internal") ports.onDefect(course.line.name, version, known.cause ?? known);
    end(course, version, outcomeOf(known), known);
  };

  /** Chooses the version, checks the inputs against it and lets them wait for their run. */
  const start = (course: Course, given: readonly Tensor[], extra: Parameters | null): void => {
    const { request, call, line } = course;
    let chosen: Chosen | null = null;
    try {
      chosen = choose(line, request);
      const { handle } = chosen;
      const isLines = handle.of.featureNames.length > 0;
      const inputs = inOrder(handle.model.signature.inputs, isLines ? given.map(asFeatures) : given);
      checkOutputs(request, handle);
      const rows = rowsOf(inputs, handle);
      if (isLines) checkFeatures(inputs[0] as Tensor);
      ports.spend(call, rows);
      const partner = isLines && rows > 1 ? acquirePartner(line, request) : null;
      run(course, { ...chosen, inputs, rows, extra, partner });
    } catch (error) {
      chosen?.handle.release();
      fail(course, chosen?.handle.of.version ?? 0, error);
    }
  };

  /** Throws, with the handles still held, when there is too much to do. */
  const run = (course: Course, going: Going): void => {
    const { handle, partner } = going;
    const { version } = handle.of;
    const statistics = course.line.statisticsOf(version);
    try {
      submit(course, handle, going, (error, outputs, spent) => {
        statistics.inFlight--;
        inFlight--;
        if (error === null && partner !== null) return runPartner(course, going, partner, outputs, spent);
        finish(course, going, error, outputs, spent);
      });
    } catch (error) {
      partner?.handle.release();
      throw error;
    }
    statistics.inFlight++;
    inFlight++;
  };

  const submit = (course: Course, { lane }: Handle, { inputs, rows }: Going, done: JobDone): void => {
    const { call, arrivedAt, deadlineAt, priority } = course;
    lane.submit({
      inputs,
      rows,
      priority,
      arrivedAt,
      deadlineAt,
      isCancelled: () => call.isCancelled(),
      done,
    });
  };

  /** The same rows for the challenger of rankings; where it cannot answer the champion does alone. */
  const runPartner = (
    course: Course,
    going: Going,
    partner: Partner,
    outputs: readonly Tensor[],
    spent: Spent,
  ): void => {
    const alone = (): void => {
      partner.handle.release();
      finish(course, going, null, outputs, spent);
    };
    try {
      submit(course, partner.handle, going, (error, others) => {
        const shown = error === null ? interleaveScores(partner, outputs[0], others[0]) : null;
        if (shown === null) return alone();
        partner.handle.release();
        finish(course, { ...going, arm: shown.arm, teams: shown.teams }, null, [shown.scores], spent);
      });
    } catch {
      alone();
    }
  };

  /** Answers, and lets the model go. */
  const finish = (
    course: Course,
    going: Going,
    error: Error | null,
    outputs: readonly Tensor[],
    spent: Spent,
  ): void => {
    const { request, line, arrivedAt, traceparent, done } = course;
    const { handle, arm, inputs, rows, extra } = going;
    const { version, featureNames } = handle.of;
    const ms = spent.endedAt - arrivedAt;
    limit.observe(ms, inFlight);
    let response: InferResponse;
    try {
      if (error !== null) throw error;
      if (featureNames.length > 0) checkScores(outputs[0] as Tensor, version);
      response = {
        modelName: request.modelName,
        modelVersion: String(version),
        id: request.id,
        parameters: receiptOf(handle, arm, traceparent, extra),
        outputs: selectOutputs(request, handle, outputs),
      };
    } catch (failure) {
      fail(course, version, failure);
      return handle.release();
    }
    line.statisticsOf(version).answered(ms, rows, spent, ports.clock.now());
    line.requests.answered++;
    line.recent.offer(inputs, spent.endedAt);
    trace(course, ms, spent, null);
    // Before the answer: the request's bytes go with it.
    if (featureNames.length > 0) {
      ports.onAnswered({
        line: line.name,
        id: request.id,
        handle,
        arm,
        teams: going.teams ?? null,
        input: inputs[0] as Tensor,
        scores: (outputs[0] as Tensor).data as Float32Array,
        traceId: traceIdOf(traceparent),
      });
    }
    done(null, response);
    handle.release();
  };

  const startWithEntity = async (course: Course, entity: string): Promise<void> => {
    const { request, line, deadlineAt } = course;
    try {
      if (request.inputs.length > 0) {
        throw new RpcError(
          "invalidArgument",
          `inputs: ${request.inputs.length} tensors beside the parameter "${PARAMETER.entity}": send one of them`,
        );
      }
      const vector = await ports.entityVector(line.name, entity, deadlineAt);
      const wanted = line.controller.champion?.featureDigest;
      if (wanted !== undefined && wanted !== vector.featureDigest) {
        const which = `${vector.featureDigest.slice(0, 12)}, the model wants ${wanted.slice(0, 12)}`;
        throw new RpcError(
          "failedPrecondition",
          `the online store has feature definition ${which}: try again later`,
        );
      }
      const extra = new Map([["feature_age_ms", BigInt(vector.ageMs)]]);
      start(course, [featureTensor(Float32Array.from(vector.values), 1)], extra);
    } catch (error) {
      fail(course, 0, error);
    }
  };

  const startLoaded = (course: Course): void => {
    try {
      const entity = entityOf(course.request);
      if (entity === undefined) start(course, course.request.inputs, null);
      else void startWithEntity(course, entity);
    } catch (error) {
      fail(course, 0, error);
    }
  };

  /** Of a line whose models were let go to make room: the first request brings them back. */
  const startWhenLoaded = async (course: Course): Promise<void> => {
    const { line, deadlineAt } = course;
    try {
      if (line.isUnloaded)
        throw new RpcError("unavailable", `line ${quoted(line.name)} was unloaded: load it first`);
      await withDeadline(deadlineAt - now(), `loading line ${line.name}`, line.load());
      startLoaded(course);
    } catch (error) {
      fail(course, 0, error);
    }
  };

  return {
    infer: (request, call, done) => {
      const arrivedAt = now();
      let line: NodeLine;
      try {
        line = lineOf(request.modelName);
      } catch (error) {
        return done(asRpcError(error), null);
      }
      const deadlineAt = deadlineOf(request, call, arrivedAt);
      const traceparent = call.metadata("traceparent") ?? "";
      const priority = priorityOf(request, line);
      const course: Course = { request, call, line, arrivedAt, deadlineAt, priority, traceparent, done };
      if (inFlight >= limit.limit * OPEN_TO[priority]) return fail(course, 0, TOO_MANY);
      line.usedAt = arrivedAt;
      if (line.controller.isParked) return void startWhenLoaded(course);
      startLoaded(course);
    },
    refusal: () => {
      if (inFlight < limit.limit) return null;
      shed++;
      return TOO_MANY;
    },
    get shed() {
      return shed;
    },
  };
}

/** Spans of a call whose trace is recorded: the whole, its wait and its run. */
function trace(
  { line, request, arrivedAt, traceparent }: Course,
  ms: number,
  spent: Spent | null,
  error: RpcError | null,
): void {
  if (traceparent === "" || !isSampled(traceparent)) return;
  const attributes = {
    "rpc.system.name": "grpc",
    "rpc.method": METHOD,
    "millrace.line": line.name,
    "millrace.version": request.modelVersion,
  };
  const whole = { name: METHOD, kind: SpanKind.SERVER, startedAt: arrivedAt, ms, attributes };
  if (error !== null) return recordSpans(traceparent, { ...whole, error: error.message }, []);
  const { queueMs, computeMs, batchRows } = spent as Spent;
  const computedAt = arrivedAt + ms - computeMs;
  recordSpans(traceparent, whole, [
    { name: "inference queue", startedAt: computedAt - queueMs, ms: queueMs },
    {
      name: "inference compute",
      startedAt: computedAt,
      ms: computeMs,
      attributes: { "millrace.batch_rows": batchRows },
    },
  ]);
}

/** Throws an RpcError: a line's model answers one finite number per row. */
function checkScores({ data }: Tensor, version: number): void {
  const scores = data as Float32Array;
  for (let row = 0; row < scores.length; row++) {
    if (Number.isFinite(scores[row])) continue;
    throw new RpcError("internal", `version ${version} answers ${scores[row]} to row ${row}`);
  }
}
