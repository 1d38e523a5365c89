import type { InferRequest, InferResponse, Parameters, Tensor } from "@millrace/open-inference";
import { type GrpcCall, RpcError } from "@millrace/runtime";
import { featureTensor, type Handle, type Spent } from "@millrace/serving";
import { type Chosen, choose } from "./choose.ts";
import { asRpcError } from "./failure.ts";
import { Inference } from "./inference.ts";
import { acquirePartner, type Interleaved, interleaveScores, type Partner } from "./interleaved.ts";
import { lineNamed, type NodeLine } from "./line.ts";
import type { NodeLoad } from "./node-load.ts";
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

/** The features of an entity now, as the online store has them. */
export interface EntityVector {
  readonly values: readonly number[];
  readonly featureDigest: string;
  /** Age in ms of the newest event that they rest on; -1: there is none. */
  readonly ageMs: number;
}

/** The rows of a line's model in one answer, for the log of predictions and the mirror. */
export interface Answered extends Chosen {
  readonly line: string;
  /** Empty where the caller gave none. */
  readonly id: string;
  readonly input: Tensor;
  /** As the model gave them. */
  readonly scores: Float32Array;
  /** Where two versions' rankings were shown as one. */
  readonly interleaved: Interleaved | null;
  readonly traceId: string;
}

export interface PredictPorts {
  readonly lines: ReadonlyMap<string, NodeLine>;
  /** Looks an entity up in the online store. `entity`: JSON of its key fields. Rejects with an RpcError. */
  readonly entityVector: (line: string, entity: string, deadlineMs: number) => Promise<EntityVector>;
  readonly load: NodeLoad;
  /** Spends a caller's budget; throws the RpcError that tells when it may try again. */
  readonly spend: (call: GrpcCall, rows: number) => void;
  /** Called when a model fails where it should not. */
  readonly onDefect: (line: string, version: number, error: unknown) => void;
  /** Called before an answer goes out, with what may be logged and mirrored; must not throw and not wait. */
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
}

/** What is given to a model: the inputs in its order, and what this answer alone says of them. */
interface Run {
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  readonly extra: Parameters | null;
}

/** Features that were looked up for the request. */
interface LookedUp {
  readonly featureDigest: string;
  readonly parameters: Parameters;
}

/**
 * Answers inference requests, whichever way they came: a model is a line, its version "" the champion (or, while a
 * rollout runs, the arm that the request falls to), "N" a version loaded beside it, or an alias.
 */
export function createPredictor(ports: PredictPorts): Predictor {
  const { now, load } = ports;

  /** Chooses the version, checks the inputs against it and lets them wait for their run. */
  const start = (inference: Inference, given: readonly Tensor[], lookedUp: LookedUp | null): void => {
    const { request, call, line } = inference;
    try {
      const chosen = choose(line, request);
      const { handle } = chosen;
      inference.hold(handle);
      if (lookedUp !== null) checkDefinition(lookedUp, handle);
      const isLines = handle.of.featureNames.length > 0;
      const inputs = inOrder(handle.model.signature.inputs, isLines ? given.map(asFeatures) : given);
      checkOutputs(request, handle);
      const rows = rowsOf(inputs, handle);
      if (isLines) checkFeatures(inputs[0] as Tensor);
      ports.spend(call, rows);
      const run = { inputs, rows, extra: lookedUp?.parameters ?? null };
      const partner = isLines && rows > 1 ? acquirePartner(line, request) : null;
      if (partner !== null) inference.holdBeside(partner.handle);
      submit(inference, handle, run, (outputs, spent) => {
        if (partner === null) answer(inference, chosen, run, outputs, spent, null);
        else runPartner(inference, chosen, run, partner, outputs, spent);
      });
    } catch (error) {
      inference.fail(error);
    }
  };

  /** Throws when there is too much to do. */
  const submit = (
    inference: Inference,
    { lane }: Handle,
    { inputs, rows }: Run,
    then: (outputs: readonly Tensor[], spent: Spent) => void,
  ): void => {
    const { call, arrivedAt, deadlineAt, priority } = inference;
    lane.submit({
      inputs,
      rows,
      priority,
      arrivedAt,
      deadlineAt,
      isCancelled: () => call.isCancelled(),
      done: (error, outputs, spent) => {
        if (error !== null) return inference.fail(error);
        try {
          then(outputs, spent);
        } catch (failure) {
          inference.fail(failure);
        }
      },
    });
  };

  /** The same rows for the challenger of rankings, whose answer is shown with the champion's as one ranking. */
  const runPartner = (
    inference: Inference,
    chosen: Chosen,
    run: Run,
    partner: Partner,
    outputs: readonly Tensor[],
    spent: Spent,
  ): void =>
    submit(inference, partner.handle, run, ([other]) => {
      answer(inference, chosen, run, outputs, spent, interleaveScores(partner, outputs[0], other));
    });

  const answer = (
    inference: Inference,
    chosen: Chosen,
    { inputs, rows, extra }: Run,
    outputs: readonly Tensor[],
    spent: Spent,
    interleaved: Interleaved | null,
  ): void => {
    const { request, line, traceparent } = inference;
    const { handle } = chosen;
    const isLines = handle.of.featureNames.length > 0;
    if (isLines) checkScores(outputs[0] as Tensor, handle.of.version);
    const arm = interleaved?.arm ?? chosen.arm;
    const response: InferResponse = {
      modelName: request.modelName,
      modelVersion: String(handle.of.version),
      id: request.id,
      parameters: receiptOf(handle, arm, traceparent, extra),
      outputs: selectOutputs(request, handle, interleaved === null ? outputs : [interleaved.shown]),
    };
    load.observe(spent.queueMs + spent.computeMs);
    line.recent.offer(inputs, spent.endedAt);
    // Before the answer: the request's bytes go with it.
    if (isLines) {
      ports.onAnswered({
        line: line.name,
        id: request.id,
        handle,
        arm,
        input: inputs[0] as Tensor,
        scores: (outputs[0] as Tensor).data as Float32Array,
        interleaved,
        traceId: traceIdOf(traceparent),
      });
    }
    inference.answer(response, rows, spent);
  };

  const startWithEntity = async (inference: Inference, entity: string): Promise<void> => {
    const { request, line, deadlineAt } = inference;
    try {
      if (request.inputs.length > 0) {
        throw new RpcError(
          "invalidArgument",
          `inputs: ${request.inputs.length} tensors beside the parameter "${PARAMETER.entity}": send one of them`,
        );
      }
      const { values, featureDigest, ageMs } = await ports.entityVector(
        line.name,
        entity,
        deadlineAt - now(),
      );
      const parameters = new Map([["feature_age_ms", BigInt(ageMs)]]);
      start(inference, [featureTensor(Float32Array.from(values), 1)], { featureDigest, parameters });
    } catch (error) {
      inference.fail(error);
    }
  };

  const startLoaded = (inference: Inference): void => {
    try {
      const entity = entityOf(inference.request);
      if (entity === undefined) start(inference, inference.request.inputs, null);
      else void startWithEntity(inference, entity);
    } catch (error) {
      inference.fail(error);
    }
  };

  /** Of a line whose models were let go to make room: the first request brings them back. */
  const startWhenLoaded = (inference: Inference): void => {
    const { line, deadlineAt } = inference;
    line.awake(deadlineAt - now()).then(
      () => startLoaded(inference),
      (error: unknown) => inference.fail(error),
    );
  };

  return {
    infer: (request, call, done) => {
      const arrivedAt = now();
      let line: NodeLine;
      try {
        line = lineNamed(ports.lines, request.modelName, "model_name");
      } catch (error) {
        return done(asRpcError(error), null);
      }
      line.usedAt = arrivedAt;
      const inference = new Inference(ports, {
        request,
        call,
        line,
        arrivedAt,
        deadlineAt: deadlineOf(request, call, arrivedAt),
        priority: priorityOf(request, line),
        done,
      });
      if (!inference.enter()) return;
      if (line.controller.isParked) startWhenLoaded(inference);
      else startLoaded(inference);
    },
  };
}

/** Looked up features are of one definition, and so is what a model takes. Throws an RpcError where they differ. */
function checkDefinition({ featureDigest }: LookedUp, { of }: Handle): void {
  if (of.featureDigest === featureDigest) return;
  const which = `${featureDigest.slice(0, 12)}, version ${of.version} wants ${of.featureDigest.slice(0, 12)}`;
  throw new RpcError(
    "failedPrecondition",
    `the online store has feature definition ${which}: try again later`,
  );
}

/** Throws an RpcError: a line's model answers one finite number per row. */
function checkScores({ data }: Tensor, version: number): void {
  const scores = data as Float32Array;
  for (let row = 0; row < scores.length; row++) {
    if (Number.isFinite(scores[row])) continue;
    throw new RpcError("internal", `version ${version} answers ${scores[row]} to row ${row}`);
  }
}
