import { MODEL_INPUT, MODEL_OUTPUT } from "@millrace/lines";
import type { ModelSignature } from "@millrace/onnx-graph";
import { lineOf, type Model } from "./model.ts";
import { runTensors, type Session } from "./session.ts";
import type { Value } from "./value.ts";

/** A model that onnxruntime runs. */
export function sessionModel(
  signature: ModelSignature,
  session: Session,
  at: Pick<Model, "place" | "memoryBytes" | "notCompiled">,
): Model {
  const { checkMatrix, ...line } = lineOf(signature);
  const running = new Set<Promise<unknown>>();
  let released: Promise<void> | undefined;

  const runSession: Session["run"] = async (values, outputs) => {
    if (released !== undefined) throw new Error("the model was released");
    const result = session.run(values, outputs);
    running.add(result);
    try {
      return await result;
    } finally {
      running.delete(result);
    }
  };

  return {
    ...at,
    ...line,
    evaluator: "onnxruntime",
    provider: session.provider,
    providersFailed: session.providersFailed,
    run: (inputs, outputs) => runTensors(runSession, signature, inputs, outputs),
    async score(matrix, rows) {
      checkMatrix(matrix, rows);
      if (rows === 0) return new Float32Array(0);
      const input: Value = { type: "float32", dims: [rows, line.features], data: matrix };
      const score = (await runSession({ [MODEL_INPUT]: input }, [MODEL_OUTPUT]))[MODEL_OUTPUT];
      if (score?.type !== "float32" || score.dims.length !== 1 || score.dims[0] !== rows) {
        throw new Error(
          `the model answered ${score?.type} [${score?.dims}] to ${rows} rows, not float32 [${rows}]`,
        );
      }
      return score.data as Float32Array;
    },
    release() {
      released ??= Promise.allSettled(running).then(() => session.release());
      return released;
    },
  };
}
