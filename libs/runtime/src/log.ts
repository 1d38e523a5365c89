import { context, isSpanContextValid, trace } from "@opentelemetry/api";
import { type Logger, pino } from "pino";

export type Log = Logger;

/** JSON lines on standard output, each with service name and, inside a span, trace_id and span_id. */
export function createLog(service: string, level: string): Log {
  return pino({
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    mixin: () => {
      const span = trace.getSpanContext(context.active());
      return span === undefined || !isSpanContextValid(span)
        ? {}
        : { trace_id: span.traceId, span_id: span.spanId };
    },
  });
}
