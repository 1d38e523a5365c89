import { concatRows, splitRows, type Tensor } from "@millrace/open-inference";
import { RpcError } from "@millrace/runtime";
import { BatchClock, type RunTimes } from "./batch-clock.ts";
import type { ServedModel } from "./model.ts";

/** Rows of the largest request, and of the largest batch. */
export const ROWS_MAX = 4_096;

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
  /**
   * Called once, with an error or with the outputs in the signature's order. What it throws is a defect that harms
   * nobody else: see `BatcherOptions.onDefect`.
   */
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
  /** Called with what a job's `done` has thrown; must not throw itself. */
  readonly onDefect: (error: unknown) => void;
}

/** The waiting room of one model. */
export interface Lane {
  /**
   * Takes a job, or throws an RpcError: deadlineExceeded when its time is up, resourceExhausted with a hint when too much
   * waits for it to be done in time. A lane with nothing to do takes any job that is not late.
   */
  submit(job: Job): void;
  /** Rows that wait now. */
  readonly waitingRows: number;
  /** Rows of the largest batch that keeps the objective: what a caller with many rows had best send at once. */
  readonly rowsLiked: number;
}

export interface Batcher {
  /** A waiting room for a model; it is gone with its last job. `observed`: how long its runs took so far. */
  lane(model: ServedModel, options: LaneOptions, observed?: RunTimes): Lane;
}

/**
 * Of its time, the part that a job may be expected to wait for, by priority: so the queue has room for who matters, and
 * what is let in is answered in time though the way here and back takes its time as well.
 */
const WAIT_SHARE = [0.5, 0.25, 0.125] as const;
const NOTHING: RunTimes = new Map();

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
  return {
    lane: (model, lane, observed = NOTHING) => new ModelLane(model, lane, options, wake, observed),
  };
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
  readonly #clock: BatchClock;
  readonly #queues: readonly [Queue, Queue, Queue] = [new Queue(), new Queue(), new Queue()];
  /** Jobs of a shared run that failed: before all others, and each alone, so that a bad request fails by itself. */
  readonly #suspects = new Queue();
  #running = false;
  waitingRows = 0;

  constructor(
    model: ServedModel,
    lane: LaneOptions,
    options: BatcherOptions,
    wake: (lane: ModelLane) => void,
    observed: RunTimes,
  ) {
    this.#model = model;
    this.#lane = lane;
    this.#options = options;
    this.#wake = wake;
    this.#clock = new BatchClock(observed);
  }

  submit(job: Job): void {
    const now = this.#options.now();
    if (now > job.deadlineAt) throw late();
    const rows = this.waitingRows + job.rows;
    const waitMs = this.#clock.estimate(rows);
    // Of a lane with nothing to do the next run is the only way to learn that it is quicker than it was.
    const isIdle = !this.#running && this.waitingRows === 0;
    const tooLate = waitMs > (job.deadlineAt - now) * WAIT_SHARE[job.priority];
    if (rows > this.#options.waitingRowsMax || (!isIdle && tooLate)) {
      const message = `${this.waitingRows} rows wait already, about ${Math.ceil(waitMs)} ms of work: slow down and try again`;
      throw RpcError.refusal("resourceExhausted", message, Math.max(1, Math.ceil(waitMs)));
    }
    this.#queues[job.priority].push(job);
    this.waitingRows = rows;
    if (!this.#running) this.#wake(this);
  }

  get rowsLiked(): number {
    if (!this.#model.signature.batches) return 1;
    return Math.min(this.#options.rowsMax, this.#clock.rowsWithin(this.#lane.objectiveMs));
  }

  /** Starts one batch of what waits. */
  runBatch(): void {
    if (this.#running) return;
    const now = this.#options.now();
    const batch = this.#take(now);
    if (batch.length === 0) return;
    this.#running = true;
    let answer: ReturnType<ServedModel["run"]>;
    try {
      answer = this.#model.run(together(batch));
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
        this.#answer(job, late(), [], notRun(job, now));
        continue;
      }
      batch.push(job);
      rows += job.rows;
      if (queue === this.#suspects || !this.#model.signature.batches) break;
    }
    return batch;
  }

  /** The queue whose first job's turn it is; null when none waits. */
  #next(): Queue | null {
    if (this.#suspects.first !== undefined) return this.#suspects;
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

  #ended(batch: readonly Job[], startedAt: number, outputs: readonly Tensor[]): void {
    const endedAt = this.#options.now();
    const computeMs = endedAt - startedAt;
    const rows = batch.map((job) => job.rows);
    let shares: readonly (readonly Tensor[])[];
    try {
      shares = batch.length === 1 ? [outputs] : apart(outputs, rows);
    } catch (error) {
      return this.#failed(batch, startedAt, error);
    }
    const batchRows = rows.reduce((sum, one) => sum + one, 0);
    this.#clock.observe(batchRows, computeMs);
    this.#free();
    batch.forEach((job, i) => {
      const spent = { queueMs: startedAt - job.arrivedAt, computeMs, batchRows, endedAt };
      this.#answer(job, null, shares[i] as readonly Tensor[], spent);
    });
  }

  /** What failed for several is tried again for each alone. */
  #failed(batch: readonly Job[], startedAt: number, error: unknown): void {
    const [only] = batch as [Job, ...Job[]];
    if (batch.length > 1) {
      for (const job of batch) {
        this.#suspects.push(job);
        this.waitingRows += job.rows;
      }
    }
    this.#free();
    if (batch.length === 1) this.#answer(only, asError(error), [], notRun(only, startedAt));
  }

  /** The only place that calls `done`: for each job that was taken once. */
  #answer(job: Job, error: Error | null, outputs: readonly Tensor[], spent: Spent): void {
    try {
      job.done(error, outputs, spent);
    } catch (defect) {
      this.#options.onDefect(defect);
    }
  }

  #free(): void {
    this.#running = false;
    if (this.waitingRows > 0) this.#wake(this);
  }
}

function late(): RpcError {
  return new RpcError("deadlineExceeded", "nobody waits for the answer any more");
}

/** The inputs of a run for all jobs. */
function together(batch: readonly Job[]): readonly Tensor[] {
  const [first] = batch as [Job, ...Job[]];
  if (batch.length === 1) return first.inputs;
  return first.inputs.map((_, i) => concatRows(batch.map(({ inputs }) => inputs[i] as Tensor)));
}

/** Each job's outputs, the jobs having so many rows. */
function apart(outputs: readonly Tensor[], rows: readonly number[]): readonly (readonly Tensor[])[] {
  const parts = outputs.map((output) => splitRows(output, rows));
  return rows.map((_, i) => parts.map((part) => part[i] as Tensor));
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
