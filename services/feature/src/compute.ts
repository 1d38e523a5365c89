import { Computation, type ComputationSink, type ComputationSnapshot } from "@millrace/computation";
import { type IdBytes, lineTopic, VectorWriter } from "@millrace/contracts";
import { Acceptor, type AcceptorSnapshot, createAcceptedReader, type EventRow } from "@millrace/events";
import { ExampleWriter } from "@millrace/labels";
import { eventLog, type LineDefinition } from "@millrace/lines";
import type { Emit, StreamRecord, Task } from "@millrace/stream";

/** State of one partition, of one feature definition and number of partitions. */
export interface ComputeSnapshot {
  readonly computation: ComputationSnapshot;
  /** What this step knows of the producers' topic where that is the event log; else null. */
  readonly acceptor: AcceptorSnapshot | null;
}

export interface ComputeTask extends Task {
  readonly computation: Computation;
  snapshot(): ComputeSnapshot;
}

/**
 * Steps 3 and 5: accepted events of one partition, in one order, to feature vectors and, once an event's label has
 * come, to examples.
 */
export function createComputeTask(
  line: LineDefinition,
  featureDigest: string,
  snapshot: ComputeSnapshot | null,
): ComputeTask {
  const computation = new Computation(line, featureDigest, snapshot?.computation ?? null);
  const log = openLog(line, snapshot?.acceptor ?? null);
  const { names, decimals } = computation.plan;
  const vectors = new VectorWriter({ names, decimals, digest: featureDigest, format: line.vectors.format });
  const examples = new ExampleWriter(featureDigest, decimals);
  const featuresTopic = lineTopic(line.name, "features");
  const examplesTopic = lineTopic(line.name, "examples");

  let cause: StreamRecord;
  let emitting: Emit;
  const sink: ComputationSink = {
    vector: (id, timeMs, values) => {
      emitting(cause, featuresTopic, { key: keyOf(id), value: vectors.write(id, timeMs, values) });
    },
    example: (example) => {
      emitting(cause, examplesTopic, { key: keyOf(example.id), value: examples.write(example) });
    },
  };

  return {
    computation,
    process: (records, emit) => {
      emitting = emit;
      for (const record of records) {
        const row = log.read(record);
        if (row === null) continue;
        cause = record;
        computation.take(row, sink);
      }
    },
    snapshot: () => ({ computation: computation.snapshot(), acceptor: log.acceptor?.snapshot() ?? null }),
  };
}

const keyOf = ({ bytes, start, end }: IdBytes): Uint8Array => bytes.subarray(start, end);

/** A line's event log as rows. */
interface LogReader {
  /** The record's event; null: it is none, or it is not accepted. The row is used again for the next record. */
  readonly read: (record: StreamRecord) => EventRow | null;
  readonly acceptor: Acceptor | null;
}

function openLog(line: LineDefinition, snapshot: AcceptorSnapshot | null): LogReader {
  if (eventLog(line).direct) {
    const acceptor = new Acceptor(line, snapshot);
    return {
      acceptor,
      read: (record) => {
        const outcome = acceptor.accept(record);
        return outcome.kind === "accepted" ? outcome.row : null;
      },
    };
  }
  const reader = createAcceptedReader(line);
  return {
    acceptor: null,
    read: ({ bytes, valueStart, valueEnd, timestampMs }) =>
      valueStart < 0 ? null : (reader.read(bytes, valueStart, valueEnd, timestampMs)?.row ?? null),
  };
}
