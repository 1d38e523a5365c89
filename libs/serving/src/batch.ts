import { concatRows, splitRows, type Tensor } from "@millrace/open-inference";
import { RpcError } from "@millrace/runtime";
import { BatchClock } from "./batch-clock.ts";
import type { ServedModel } from "./model.ts";

/** 0 goes first, 2 last; see `Lane` for what that means. */
export type Priority = 0 | 1 | 2;

/** One request for a run. */
export interface Job {
  /** In the signature's order; of a model that batches, all with `rows` as their first dimension. */
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  readonly priority: Priority;
  /** Monotonic ms of its arrival, and at which nobody waits for the answer any more. */
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  /** Whether the caller has gone. */
  isCancelled(): boolean;
  /** Called once, with an error or with the outputs in the signature's order. */
  done(error: Error | null, outputs: readonly Tensor[], spent: Spent): void;
}

/** Where a job's time went, in ms, and with how many rows it shared its run. */
export interface Spent {
  readonly queueMs: number;
  readonly computeMs: number;
  readonly batchRows: number;
  /** Monotonic ms. */
  readonly endedAt: number;
}

export interface LaneOptions {
  /** Read for each batch. What the line promises: ms from arrival to answer, for nearly all requests. */
  readonly objectiveMs: number;
}

export interface BatcherOptions {
  /** Monotonic ms. */
  readonly now: () => number;
  /** Most rows of a batch, whatever the objective allows; a larger request goes alone. */
  readonly rowsMax: number;
  /** Most rows that may wait in one lane. */
  readonly waitingRowsMax: number;
}

/** The waiting room of one model. */
export interface Lane {
  /** Takes a job, or throws an RpcError: resourceExhausted with a hint when it could not be done in time. */
  submit(job: Job): void;
  /** Rows that wait now. */
  readonly waitingRows: number;
  /** Rows of the largest batch that keeps the objective: what a caller with many rows had best send at once. */
  readonly rowsLiked: number;
}

export interface Batcher {
  /** A waiting room for a model; it is gone with its last job. */
  lane(model: ServedModel, options: LaneOptions): Lane;
}

/** Of the objective, the part that one run may take: who comes while a run is under way waits for it, and has his own. */
const RUN_SHARE = 0.25;

/** Of a job that did not run, or not to its end. */
function notRun(job: Job, now: number): Spent {
  return { queueMs: now - job.arrivedAt, computeMs: 0, batchRows: 0, endedAt: now };
}

/**
 * Runs what has arrived together: whatever waits when the event-loop turn ends is one batch, so that a lone request
 * waits for nothing, and batches fill by themselves under load. How large they may grow follows from the lane's latency
 * objective and from how long its runs take. Lanes take turns, one batch each: no model starves another.
 */
export function createBatcher(options: BatcherOptions): Batcher {
  const waiting = new Set<ModelLane>();
  let scheduled = false;

  const turn = (): void => {
    scheduled = false;
    // Who has more to do comes again in the next turn, behind those who have not had theirs.
    const lanes = [...waiting];
    waiting.clear();
    for (const lane of lanes) lane.runBatch();
  };
  const wake = (lane: ModelLane): void => {
    waiting.add(lane);
    if (scheduled) return;
    scheduled = true;
    setImmediate(turn);
  };
  return { lane: (model, lane) => new ModelLane(model, lane, options, wake) };
}

/**
 * A priority is worth one objective of waiting: a job goes before another one of lower priority that has waited for
 * less than that longer, so that no job waits for ever.
 */
class ModelLane implements Lane {
  readonly #model: ServedModel;
  readonly #lane: LaneOptions;
  readonly #options: BatcherOptions;
  readonly #wake: (lane: ModelLane) => void;
  readonly #clock = new BatchClock();
  readonly #queues: readonly [Queue, Queue, Queue] = [new Queue(), new Queue(), new Queue()];
  #running = false;
  waitingRows = 0;

  constructor(
    model: ServedModel,
    lane: LaneOptions,
    options: BatcherOptions,
    wake: (lane: ModelLane) => void,
  ) {
    this.#model = model;
    this.#lane = lane;
    this.#options = options;
    this.#wake = wake;
  }

  submit(job: Job): void {
    const waitMs = this.#clock.estimate(this.waitingRows + job.rows);
    if (
      job.arrivedAt + waitMs > job.deadlineAt ||
      this.waitingRows + job.rows > this.#options.waitingRowsMax
    ) {
      const message = `${this.waitingRows} rows wait already, about ${Math.ceil(waitMs)} ms of work: slow down and try again`;
      throw RpcError.refusal("resourceExhausted", message, Math.max(1, Math.ceil(waitMs)));
    }
    this.#queues[job.priority].push(job);
    this.waitingRows += job.rows;
    if (!this.#running) this.#wake(this);
  }

  get rowsLiked(): number {
    if (!this.#model.signature.batches) return 1;
    return Math.min(this.#options.rowsMax, this.#clock.rowsWithin(this.#lane.objectiveMs * RUN_SHARE));
  }

  /** Starts one batch of what waits. */
  runBatch(): void {
    if (this.#running) return;
    const now = this.#options.now();
    const batch = this.#take(now);
    if (batch.length === 0) return;
    const inputs = this.#together(batch);
    this.#running = true;
    let answer: ReturnType<ServedModel["run"]>;
    try {
      answer = this.#model.run(inputs);
    } catch (error) {
      return this.#failed(batch, now, error);
    }
    if (answer instanceof Promise) {
      answer.then(
        (outputs) => this.#ended(batch, now, outputs),
        (error: unknown) => this.#failed(batch, now, error),
      );
    } else {
      this.#ended(batch, now, answer);
    }
  }

  /** Jobs for one run, at most as many rows as the objective allows. Jobs that nobody waits for are ended here. */
  #take(now: number): Job[] {
    const rowsMax = this.rowsLiked;
    const batch: Job[] = [];
    let rows = 0;
    for (let queue = this.#next(); queue !== null; queue = this.#next()) {
      const job = queue.first as Job;
      const fits = batch.length === 0 || (rows + job.rows <= rowsMax && isAlike(batch[0] as Job, job));
      if (!fits) break;
      queue.shift();
      this.waitingRows -= job.rows;
      if (job.isCancelled() || now > job.deadlineAt) {
        job.done(
          new RpcError("deadlineExceeded", "nobody waits for the answer any more"),
          [],
          notRun(job, now),
        );
        continue;
      }
      batch.push(job);
      rows += job.rows;
      if (!this.#model.signature.batches) break;
    }
    return batch;
  }

  /** The queue whose first job's turn it is; null when none waits. */
  #next(): Queue | null {
    let best: Queue | null = null;
    let bestTime = Number.POSITIVE_INFINITY;
    for (let priority = 0; priority < 3; priority++) {
      const queue = this.#queues[priority] as Queue;
      const first = queue.first;
      if (first === undefined) continue;
      const time = first.arrivedAt + priority * this.#lane.objectiveMs;
      if (time < bestTime) {
        best = queue;
        bestTime = time;
      }
    }
    return best;
  }

  #together(batch: readonly Job[]): readonly Tensor[] {
    const [first] = batch as [Job, ...Job[]];
    if (batch.length === 1) return first.inputs;
    return first.inputs.map((_, i) => concatRows(batch.map(({ inputs }) => inputs[i] as Tensor)));
  }

  #ended(batch: readonly Job[], startedAt: number, outputs: readonly Tensor[]): void {
    const endedAt = this.#options.now();
    const computeMs = endedAt - startedAt;
    const rows = batch.map((job) => job.rows);
    const batchRows = rows.reduce((sum, one) => sum + one, 0);
    this.#clock.observe(batchRows, computeMs);
    this.#free();
    let shares: readonly (readonly Tensor[])[] | null = null;
    if (batch.length > 1) {
      try {
        shares = outputs.map((output) => splitRows(output, rows));
      } catch (error) {
        return this.#failed(batch, startedAt, error);
      }
    }
    batch.forEach((job, i) => {
      const own = shares === null ? outputs : shares.map((parts) => parts[i] as Tensor);
      job.done(null, own, { queueMs: startedAt - job.arrivedAt, computeMs, batchRows, endedAt });
    });
  }

  /** A run for several failed: each runs alone, so that one bad request fails by itself. */
  #failed(batch: readonly Job[], startedAt: number, error: unknown): void {
    this.#free();
    for (const job of batch) {
      if (batch.length > 1) void this.#alone(job);
      else job.done(asError(error), [], notRun(job, startedAt));
    }
  }

  async #alone(job: Job): Promise<void> {
    const startedAt = this.#options.now();
    try {
      const outputs = await this.#model.run(job.inputs);
      const endedAt = this.#options.now();
      const spent = {
        queueMs: startedAt - job.arrivedAt,
        computeMs: endedAt - startedAt,
        batchRows: job.rows,
        endedAt,
      };
      job.done(null, outputs, spent);
    } catch (error) {
      job.done(asError(error), [], notRun(job, startedAt));
    }
  }

  #free(): void {
    this.#running = false;
    if (this.waitingRows > 0) this.#wake(this);
  }
}

/** Whether two jobs' inputs differ in their rows only. */
function isAlike(a: Job, { inputs }: Job): boolean {
  return a.inputs.every((tensor, i) => {
    const other = (inputs[i] as Tensor).shape;
    if (tensor.shape.length !== other.length) return false;
    for (let d = 1; d < other.length; d++) if (tensor.shape[d] !== other[d]) return false;
    return true;
  });
}

/** First in, first out, without moving what waits. */
class Queue {
  #items: (Job | undefined)[] = [];
  #head = 0;

  get first(): Job | undefined {
    return this.#items[this.#head];
  }

  push(job: Job): void {
    this.#items.push(job);
  }

  shift(): void {
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
