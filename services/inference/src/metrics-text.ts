import { DURATION_BUCKETS, type ModelStatistics, type Outcome } from "./statistics.ts";

/** The statistics of one version of a line, for the metrics. */
export interface LabelledStatistics {
  readonly line: string;
  readonly version: string;
  readonly statistics: ModelStatistics;
}

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [suffix: string, labels: Labels, value: number];

/** Our own metrics of the requests, in the Prometheus text format. */
export function requestMetrics(all: readonly LabelledStatistics[]): string {
  return [
    family(
      "millrace_inference_requests_total",
      "counter",
      "Requests by outcome: answered, refused (the request is wrong, or too much), cancelled, failed (we are wrong)",
      all.flatMap((one) =>
        Object.entries(one.statistics.outcomes).map(
          ([outcome, { count }]): Sample => ["", { ...labels(one), outcome }, count],
        ),
      ),
    ),
    family(
      "millrace_inference_duration_seconds",
      "histogram",
      "From the arrival of a request to its answer",
      all.flatMap((one) => histogram(labels(one), one.statistics)),
    ),
    family(
      "millrace_inference_queue_seconds_total",
      "counter",
      "Time that answered requests waited for their run",
      all.map((one): Sample => ["", labels(one), one.statistics.queue.ms / 1_000]),
    ),
    family(
      "millrace_inference_compute_seconds_total",
      "counter",
      "Time that the runs of answered requests took, each counted in full",
      all.map((one): Sample => ["", labels(one), one.statistics.compute.ms / 1_000]),
    ),
    family(
      "millrace_inference_rows_total",
      "counter",
      "Rows answered",
      all.map((one): Sample => ["", labels(one), one.statistics.rows]),
    ),
    family(
      "millrace_inference_runs_total",
      "counter",
      "Runs of the model: rows by runs is the mean batch",
      all.map((one): Sample => ["", labels(one), one.statistics.runs]),
    ),
    family(
      "millrace_inference_in_flight",
      "gauge",
      "Requests being answered",
      all.map((one): Sample => ["", labels(one), one.statistics.inFlight]),
    ),
  ].join("");
}

/** Triton's reason of a failure, by outcome. */
const REASONS = { refused: "REJECTED", cancelled: "CANCELED", failed: "BACKEND" } as const;

/** The same numbers under the names of Triton's metrics, for dashboards and autoscalers that know those. */
export function tritonMetrics(all: readonly LabelledStatistics[]): string {
  const of = ({ line, version }: LabelledStatistics): Labels => ({ model: line, version });
  const counter = (name: string, help: string, value: (s: ModelStatistics) => number): string =>
    family(
      name,
      "counter",
      help,
      all.map((one): Sample => ["", of(one), value(one.statistics)]),
    );
  const micros = (ms: number): number => Math.round(ms * 1_000);
  return [
    counter("nv_inference_request_success", "Requests answered", (s) => s.outcomes.answered.count),
    family(
      "nv_inference_request_failure",
      "counter",
      "Requests not answered",
      all.flatMap((one) =>
        (Object.entries(REASONS) as [Exclude<Outcome, "answered">, string][]).map(
          ([outcome, reason]): Sample => ["", { ...of(one), reason }, one.statistics.outcomes[outcome].count],
        ),
      ),
    ),
    counter("nv_inference_count", "Rows answered", (s) => s.rows),
    counter("nv_inference_exec_count", "Runs of the model", (s) => Math.round(s.runs)),
    family(
      "nv_inference_pending_request_count",
      "gauge",
      "Requests being answered",
      all.map((one): Sample => ["", of(one), one.statistics.inFlight]),
    ),
    counter("nv_inference_request_duration_us", "Cumulative duration of answered requests", (s) =>
      micros(s.outcomes.answered.ms),
    ),
    counter("nv_inference_queue_duration_us", "Cumulative time in the queue", (s) => micros(s.queue.ms)),
    counter("nv_inference_compute_infer_duration_us", "Cumulative time in the model", (s) =>
      micros(s.compute.ms),
    ),
  ].join("");
}

function labels({ line, version }: LabelledStatistics): Labels {
  return { line, version };
}

function histogram(own: Labels, { durations, outcomes }: ModelStatistics): Sample[] {
  let below = 0;
  const buckets = [...DURATION_BUCKETS, Number.POSITIVE_INFINITY].map((bound, i): Sample => {
    below += durations[i] as number;
    return ["_bucket", { ...own, le: bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound) }, below];
  });
  const ms = Object.values(outcomes).reduce((sum, one) => sum + one.ms, 0);
  return [...buckets, ["_sum", own, ms / 1_000], ["_count", own, below]];
}

function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.map(([suffix, own, value]) => {
    const text = Object.entries(own).map(([label, of]) => `${label}="${escaped(of)}"`);
    return `${name}${suffix}{${text.join(",")}} ${value}\n`;
  });
  return `# HELP ${name} ${help}.\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
