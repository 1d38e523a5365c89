import type { Tensor, TensorData } from "@millrace/open-inference";

/** Some of a line's latest requests: what a new version is warmed up with and compared on before it answers anybody. */
export interface RecentRequests {
  /** Keeps a copy of a request now and then; cheap for those it does not keep. `at`: monotonic ms. */
  offer(inputs: readonly Tensor[], at: number): void;
  all(): readonly (readonly Tensor[])[];
}

export interface RecentOptions {
  readonly keep: number;
  /** Least time between two that are kept. */
  readonly everyMs: number;
  /** Larger requests are not kept. */
  readonly bytesMax: number;
}

export function recentRequests({ keep, everyMs, bytesMax }: RecentOptions): RecentRequests {
  const kept: (readonly Tensor[])[] = [];
  let next = 0;
  let notBefore = Number.NEGATIVE_INFINITY;
  return {
    offer: (inputs, at) => {
      if (at < notBefore) return;
      notBefore = at + everyMs;
      const bytes = inputs.reduce((sum, { data }) => sum + bytesOf(data), 0);
      if (bytes > bytesMax) return;
      kept[next] = inputs.map((tensor) => ({ ...tensor, data: copyOf(tensor.data) }));
      next = (next + 1) % keep;
    },
    all: () => [...kept],
  };
}

function bytesOf(data: TensorData): number {
  return ArrayBuffer.isView(data) ? data.byteLength : data.reduce((sum, one) => sum + one.length, 0);
}

function copyOf(data: TensorData): TensorData {
  return ArrayBuffer.isView(data) ? data.slice() : data.map((one) => one.slice());
}
