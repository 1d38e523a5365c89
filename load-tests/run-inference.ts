import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Hex } from "@millrace/runtime";
import { FEATURE_DIGEST, type TestModel } from "./models.ts";
import { SERVER_CORE } from "./pinned-process.ts";
import { type RunningService, runService } from "./run-service.ts";

/** How the inference port speaks HTTP/2: by grpc-js, or by the project's own server. */
export type Transport = "grpc-js" | "http2";

/**
 * The inference service on the server core, which serves the models as version 1 of lines of their names. It finds
 * them on its disk, as after a restart while everybody else is down, and reaches nobody.
 */
export async function runInference(
  models: readonly TestModel[],
  options: { readonly folder: string; readonly transport: Transport },
  stop: AbortSignal,
): Promise<RunningService> {
  await layOut(models, options.folder);
  return startInference(options, stop);
}

/** The same from a folder that is laid out already. */
export function startInference(
  { folder, transport }: { readonly folder: string; readonly transport: Transport },
  stop: AbortSignal,
): Promise<RunningService> {
  const settings = inferenceSettings(transport);
  return runService({ service: "inference", folder, core: SERVER_CORE, settings }, stop);
}

/** The settings that only this service has. */
export const inferenceSettings = (transport: Transport): Record<string, string> => ({
  MILLRACE_INFERENCE_TRANSPORT: transport,
  MILLRACE_INFERENCE_HTTP_PORT: "0",
});

/** Writes the models, and the sets that served last, as the service keeps them in its folder. */
export async function layOut(models: readonly TestModel[], folder: string): Promise<void> {
  await mkdir(join(folder, "models"), { recursive: true });
  const sets: Record<string, unknown> = {};
  for (const { name, bytes, features } of models) {
    const artifactDigest = sha256Hex(bytes);
    await writeFile(join(folder, "models", `${artifactDigest}.onnx`), bytes);
    sets[name] = {
      line: name,
      generation: 1,
      changedAtMs: 0,
      traceparent: "",
      models: [
        {
          version: 1,
          role: "champion",
          artifactDigest,
          artifactBytes: bytes.length,
          featureDigest: FEATURE_DIGEST,
          featureNames: features,
        },
      ],
    };
  }
  await writeFile(join(folder, "last-good.json"), JSON.stringify(sets));
}
