import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AcceptedEvent, Example, Prediction, Quality } from "@millrace/contracts";
import { qualityOf } from "@millrace/judge";
import flights from "@millrace/line-flights";
import { END_MS, FIRST_MS, flightEvents } from "@millrace/line-flights/stream";
import { openParquet } from "@millrace/parquet";
import { sleep } from "@millrace/runtime";
import { passingMember } from "@millrace/stream";
import type { Claim, Context, Measurement } from "../claim.ts";
import { startInProcessMesh } from "../in-process-mesh.ts";

const CHUNK = 1_000;
/** The feeder waits while a step is further behind than this. */
const LAG_MAX = 5_000;
const FILE = fileURLToPath(new URL("../data/flights-3m.parquet", import.meta.resolve("vega-datasets")));

/** Scores and labels of one month, as far as the first model could be compared with. */
class Month {
  readonly serving: number[] = [];
  readonly first: number[] = [];
  readonly labels: number[] = [];
}

/** Everything predicted after the first retraining, by month. */
class Comparison {
  readonly months = new Map<string, Month>();
  /** What waits for its other half: the feature step may be ahead of the model. */
  readonly #predictions = new Map<string, Prediction>();
  readonly #examples = new Map<string, Example>();

  addPrediction(prediction: Prediction): void {
    const example = this.#examples.get(prediction.id);
    if (example === undefined) this.#predictions.set(prediction.id, prediction);
    else this.#add(prediction, example);
  }

  addExample(example: Example): void {
    const prediction = this.#predictions.get(example.id);
    if (prediction === undefined) this.#examples.set(example.id, example);
    else this.#add(prediction, example);
  }

  #add({ id, score, shadows }: Prediction, { time, label }: Example): void {
    this.#predictions.delete(id);
    this.#examples.delete(id);
    const first = Object.values(shadows)[0];
    // Without a shadow the first model itself serves: there is nothing to compare yet.
    if (first === undefined) return;
    const name = new Date(time).toISOString().slice(0, 7);
    let month = this.months.get(name);
    if (month === undefined) {
      month = new Month();
      this.months.set(name, month);
    }
    month.serving.push(score);
    month.first.push(first);
    month.labels.push(label);
  }
}

async function run({ say, stop }: Context): Promise<Measurement> {
  let failed: unknown;
  const mesh = await startInProcessMesh(flights, (error) => {
    failed ??= error;
  });
  const parquet = await openParquet({
    memoryMb: 512,
    threads: 1,
    scratch: join(tmpdir(), "millrace-seasons"),
  });
  const comparison = new Comparison();
  const follow = (kind: "predictions" | "examples", add: (value: never) => void) =>
    mesh.broker.consume({
      group: `seasons.${kind}`,
      topics: [`flights.${kind}`],
      member: passingMember(),
      onAssigned: async () => new Map(),
      onRevoked: async () => {},
      onBatch: async ({ records }) => {
        for (const record of records)
          add(JSON.parse(Buffer.from(record.value as Uint8Array).toString()) as never);
      },
      onFailed: (error) => {
        failed ??= error;
      },
    });
  const predictions = await follow("predictions", (value) => comparison.addPrediction(value));
  const examples = await follow("examples", (value) => comparison.addExample(value));
  let events = 0;
  try {
    const settled = async (max: number): Promise<void> => {
      while (Math.max(0, ...Object.values(mesh.lag())) > max) {
        await sleep(2);
        stop.throwIfAborted();
        if (failed !== undefined) throw new Error("a service would have died", { cause: failed });
      }
    };
    const query = (sql: string, parameters: readonly number[]) => parquet.queryBatches(sql, parameters);
    const from = { timeMs: FIRST_MS, eventsAtTime: 0 };
    let month = "";
    for await (const day of flightEvents(query, FILE, {
      startMs: FIRST_MS,
      from,
      untilMs: END_MS,
      shock: null,
    })) {
      for (let i = 0; i < day.length; i += CHUNK) {
        const records = day.slice(i, i + CHUNK).map((event) => ({
          topic: "flights.events",
          partition: 0,
          key: event.value.origin,
          value: JSON.stringify(accepted(event)),
          headers: {},
        }));
        mesh.broker.write(records);
        events += records.length;
        await settled(LAG_MAX);
      }
      const now = new Date(day[0]?.time ?? FIRST_MS).toISOString().slice(0, 7);
      if (now !== month) say(`${now}: ${events.toLocaleString("en")} events so far`);
      month = now;
    }
    await settled(0);
    const { versions } = await mesh.registry.listVersions({ line: flights.name });
    const runs = (await mesh.registry.listRuns({ line: flights.name, limit: 1_000 })).runs;
    const months = [...comparison.months].sort(([a], [b]) => (a < b ? -1 : 1));
    const byMonth = Object.fromEntries(months.map(([name, one]) => [name, compare(one)]));
    for (const [name, { serving, first, baseRate }] of Object.entries(byMonth)) {
      say(
        `${name}  AP ${round(serving.averagePrecision)} | first ${round(first.averagePrecision)} | base rate ` +
          `${round(baseRate)}   AUC ${round(serving.auc)} | first ${round(first.auc)}`,
      );
    }
    const whole = new Month();
    for (const [, one] of months) {
      for (let i = 0; i < one.labels.length; i++) {
        whole.serving.push(one.serving[i] as number);
        whole.first.push(one.first[i] as number);
        whole.labels.push(one.labels[i] as number);
      }
    }
    const all = compare(whole);
    return {
      value: all.serving.averagePrecision,
      baseline: all.first.averagePrecision,
      faults: [],
      parts: {
        events,
        predictions: all.serving.rows,
        whole: all,
        byMonth,
        versions: versions.length,
        runs: countBy(runs.map((one) => `${one.trigger} ${one.state}`)),
      },
    };
  } finally {
    await predictions.stop();
    await examples.stop();
    parquet.close();
    await mesh.stop();
  }
}

/** What ingest makes of an event of the player. */
function accepted({
  kind,
  time,
  value,
}: {
  kind: string;
  time: number;
  value: { readonly flight: string };
}): AcceptedEvent {
  const stream = kind === "departure" ? "departures" : "arrivals";
  const data = { ...value, [kind === "departure" ? "due" : "landed"]: time };
  return { id: value.flight, stream, time, data };
}

function compare({ serving, first, labels }: Month): { serving: Quality; first: Quality; baseRate: number } {
  const quality = qualityOf(serving, labels);
  return { serving: quality, first: qualityOf(first, labels), baseRate: quality.positives / quality.rows };
}

const round = (figure: number): string => figure.toFixed(3);
const countBy = (names: readonly string[]): Record<string, number> =>
  Object.fromEntries([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));

const claim: Claim = {
  name: "seasons",
  statement:
    "On six months of flights, unshocked, the line that retrains itself has a higher average precision than its first " +
    "model never retrained, both on the same flights.",
  unit: "average precision",
  target: { atLeastTimesBaseline: 1 },
  limitSeconds: 1_800,
  run,
};
export default claim;
