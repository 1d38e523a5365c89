import type { registryApi } from "@millrace/contracts";
import { hasEnded, isRunState } from "@millrace/versions";
import { patiently } from "./patience.ts";
import type { Ports } from "./ports.ts";

export type Run = registryApi.Run;

const RUNS_MAX = 1_000;

/** Whether the run is still to be done or being done. A state of a later version of Millrace counts as ended. */
export function isInFlight(run: Run): boolean {
  return isRunState(run.state) && !hasEnded(run.state);
}

/** A run as it is admitted. */
export type NewRun = Pick<
  Run,
  "id" | "cause" | "trigger" | "reason" | "streamTimeMs" | "changeTimeMs" | "traceparent"
>;

/** What may be said of a run while it goes on; `stageMs` is merged. */
export type RunUpdate = Partial<
  Pick<Run, "state" | "reason" | "datasetDigest" | "version" | "attempts" | "stageMs">
>;

/**
 * The runs of a line, mirrored from the registry: whoever holds the line's lease is the only one that writes them.
 * Every write carries the lease's epoch; an older one is refused (failedPrecondition).
 */
export class RunBook {
  readonly #line: string;
  readonly #epoch: bigint;
  readonly #ports: Ports;
  readonly #signal: AbortSignal;
  readonly #runs: Map<string, Run>;

  private constructor(line: string, epoch: bigint, ports: Ports, signal: AbortSignal, runs: readonly Run[]) {
    this.#line = line;
    this.#epoch = epoch;
    this.#ports = ports;
    this.#signal = signal;
    this.#runs = new Map(runs.map((run) => [run.id, run]));
  }

  static async open(line: string, epoch: bigint, ports: Ports, signal: AbortSignal): Promise<RunBook> {
    const { runs } = await patiently("list the runs", ports, signal, () =>
      ports.registry.listRuns({ line, limit: RUNS_MAX }),
    );
    return new RunBook(line, epoch, ports, signal, runs.toReversed());
  }

  /** Oldest first. */
  all(): readonly Run[] {
    return [...this.#runs.values()];
  }

  /** The run to do next. */
  next(): Run | undefined {
    return this.all().find(isInFlight);
  }

  async add(run: NewRun): Promise<void> {
    const added = await this.#write("add the run", () =>
      this.#ports.registry.addRun({
        run: {
          ...run,
          line: this.#line,
          epoch: this.#epoch,
          state: "admitted",
          createdAtMs: BigInt(this.#ports.clock.now()),
        },
      }),
    );
    this.#keep(added.run);
  }

  async update(id: string, update: RunUpdate): Promise<Run> {
    const updated = await this.#write("update the run", () =>
      this.#ports.registry.updateRun({ run: { ...update, id, line: this.#line, epoch: this.#epoch } }),
    );
    return this.#keep(updated.run);
  }

  #write<T>(what: string, work: () => Promise<T>): Promise<T> {
    return patiently(what, this.#ports, this.#signal, work);
  }

  #keep(run: Run | undefined): Run {
    if (run === undefined) throw new Error("the registry answered without the run");
    this.#runs.set(run.id, run);
    return run;
  }
}
