import {
  type Attributes,
  context,
  type Meter,
  metrics,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor, NoopSpanProcessor } from "@opentelemetry/sdk-trace";

export type { Attributes, Meter, Span };
export { SpanKind };

export interface Telemetry {
  /** All metrics now, in the Prometheus text format. */
  metricsText(): Promise<string>;
  /** Sends what is still held, then stops. */
  stop(): Promise<void>;
}

/**
 * Starts OpenTelemetry for this process: spans go to `otlpEndpoint` (OTLP/HTTP) when it is set, else nowhere;
 * metrics are always readable through `metricsText`.
 */
export function startTelemetry(service: string, otlpEndpoint: string | undefined): Telemetry {
  const prometheus = new PrometheusExporter({ preventServerStart: true });
  const sdk = new NodeSDK({
    autoDetectResources: false,
    resource: resourceFromAttributes({
      "service.name": `millrace-${service}`,
      "service.namespace": "millrace",
    }),
    metricReaders: [prometheus],
    instrumentations: [],
    // Without an endpoint spans still exist: their ids stand in the logs and travel to the other processes.
    spanProcessors: [
      otlpEndpoint === undefined
        ? new NoopSpanProcessor()
        : new BatchSpanProcessor({
            exporter: new OTLPTraceExporter({ url: `${otlpEndpoint.replace(/\/$/, "")}/v1/traces` }),
          }),
    ],
  });
  sdk.start();
  return {
    metricsText: async () =>
      new PrometheusSerializer().serialize((await prometheus.collect()).resourceMetrics),
    stop: () => sdk.shutdown(),
  };
}

/** The meter for this mesh. Names start with `millrace_`; durations are in seconds. */
export function meter(): Meter {
  return metrics.getMeter("millrace");
}

/**
 * Runs `work` in a span. `traceparent` (W3C) makes the span part of a trace that began in another process;
 * without it the active span is the parent. An error is recorded and thrown on.
 */
export async function withSpan<T>(
  name: string,
  options: {
    readonly traceparent?: string | undefined;
    readonly kind?: SpanKind;
    readonly attributes?: Attributes;
  },
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const parent =
    options.traceparent === undefined || options.traceparent === ""
      ? context.active()
      : propagation.extract(context.active(), { traceparent: options.traceparent });
  const span = trace
    .getTracer("millrace")
    .startSpan(
      name,
      { kind: options.kind ?? SpanKind.INTERNAL, attributes: options.attributes ?? {} },
      parent,
    );
  return context.with(trace.setSpan(parent, span), async () => {
    try {
      return await work(span);
    } catch (error) {
      span.recordException(error as Error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** A part of something that is over: how long it took, in ms, and when it began, as a time of `performance.now()`. */
export interface SpanPart {
  readonly name: string;
  readonly startedAt: number;
  readonly ms: number;
  readonly attributes?: Attributes;
}

/** Whether the W3C traceparent of a caller asks for its trace to be recorded. */
export function isSampled(traceparent: string): boolean {
  return /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]/.test(traceparent);
}

/** Records spans of what is over, `whole` as the caller's child and `parts` within it: for paths too hot for `withSpan`. */
export function recordSpans(
  traceparent: string,
  whole: SpanPart & { readonly kind: SpanKind; readonly error?: string },
  parts: readonly SpanPart[],
): void {
  const parent = propagation.extract(context.active(), { traceparent });
  const tracer = trace.getTracer("millrace");
  const timeOf = (at: number): number => performance.timeOrigin + at;
  const start = ({ name, startedAt, attributes }: SpanPart, kind: SpanKind, of: typeof parent): Span =>
    tracer.startSpan(name, { kind, startTime: timeOf(startedAt), attributes: attributes ?? {} }, of);
  const span = start(whole, whole.kind, parent);
  const within = trace.setSpan(parent, span);
  for (const part of parts) {
    start(part, SpanKind.INTERNAL, within).end(timeOf(part.startedAt + part.ms));
  }
  if (whole.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: whole.error });
  span.end(timeOf(whole.startedAt + whole.ms));
}

/** W3C traceparent of the active span; empty when there is none. Put it into headers, metadata and runs. */
export function currentTraceparent(): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? "";
}
