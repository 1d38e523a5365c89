import { BatchBuilder } from "./batch-builder.ts";
import { decodeBatches } from "./decode-batches.ts";

/** The records of a batch, in order, in two batches. */
export function splitBatch(batch: BatchBuilder): [BatchBuilder, BatchBuilder] {
  const bytes = batch.finish({ id: -1, epoch: -1 }, -1);
  const { records } = decodeBatches(bytes, { topic: "", partition: 0, offset: 0, aborted: [] });
  const halves: [BatchBuilder, BatchBuilder] = [new BatchBuilder(), new BatchBuilder()];
  records.forEach((record, i) => {
    halves[2 * i < records.length ? 0 : 1].append(record, null, record.timestampMs);
  });
  return halves;
}
