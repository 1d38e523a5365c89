/** `models`: models that were made elsewhere. */
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { canonicalJson, type registryApi } from "@millrace/contracts";
import { featureNames, featurePart, isServedOnly, type LineDefinition } from "@millrace/lines";
import {
  inspectModel,
  lineContract,
  lineWidth,
  MODEL_LIMITS,
  type ModelSignature,
} from "@millrace/onnx-graph";
import { sha256Hex } from "@millrace/runtime";
import { IMPORTED_RECIPE } from "@millrace/versions";
import type { Context } from "../context.ts";
import { errorText, Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import {
  appliedLine,
  promoteVersion,
  registeredJson,
  registeredText,
  registerModel,
  servedOn,
  unjudged,
} from "../register-model.ts";

export interface AddModelOptions {
  readonly promote?: true;
  readonly note: string;
}

/** What a version says of the features that its model takes. */
type Features = Pick<registryApi.Version, "featureDigest" | "featureNames">;

/** Inspects, uploads, signs and registers a model; promotes it if that is asked for. Nothing runs the model here. */
export async function addModel(
  context: Context,
  line: string,
  file: string,
  { promote, note }: AddModelOptions,
): Promise<Result> {
  const bytes = await readModel(file);
  const inspection = inspectModel(bytes);
  if (!inspection.ok) {
    throw new Failure(
      `${file} is not taken: ${inspection.reason}`,
      "Export it anew without that; `libs/onnx-graph` says what a model may hold.",
    );
  }
  return context.withClients(async (clients) => {
    const features = featuresOf(await appliedLine(clients, line), inspection.signature, file);
    const served = await servedOn(clients, line);
    const name = basename(file);
    const reason = `imported by an operator from ${name}: ${note}`;
    const version = await registerModel(context, clients, {
      bytes,
      name,
      made: {
        line,
        recipe: IMPORTED_RECIPE,
        parentVersion: served.champion,
        ...features,
        datasetDigest: "",
        trainedUntilMs: 0n,
      },
      evidence: unjudged(reason, [{ gate: "inspection", passed: true, value: 1, bound: 1 }]),
    });
    const generation = promote ? await promoteVersion(clients, version, served, reason) : null;
    return { json: registeredJson(version, generation), text: registeredText(version, generation) };
  });
}

async function readModel(file: string): Promise<Uint8Array> {
  try {
    const handle = await open(file);
    try {
      const { size } = await handle.stat();
      if (size > MODEL_LIMITS.bytes) throw new Error(`it has ${size} bytes, more than ${MODEL_LIMITS.bytes}`);
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new Failure(`${file} cannot be read: ${errorText(cause)}`, "Name an ONNX file.", { cause });
  }
}

/** Throws a Failure when the line has features and the model does not take just these. */
function featuresOf(line: LineDefinition, signature: ModelSignature, file: string): Features {
  if (isServedOnly(line)) return { featureDigest: "", featureNames: [] };
  const names = featureNames(line);
  const featureDigest = sha256Hex(canonicalJson(featurePart(line)));
  const problem = lineContract(signature) ?? otherFeatures(signature, names, featureDigest);
  if (problem === null) return { featureDigest, featureNames: names };
  throw new Failure(
    `${file} does not keep the contract of line "${line.name}": ${problem}`,
    `It takes FP32 [rows, ${names.length}] "features" in the order ${names.join(", ")}, and gives FP32 [rows] "score".`,
  );
}

function otherFeatures(
  signature: ModelSignature,
  names: readonly string[],
  featureDigest: string,
): string | null {
  const width = lineWidth(signature);
  if (width !== names.length) return `it takes ${width} features, not ${names.length}`;
  if (signature.featureNames !== null && signature.featureNames.join() !== names.join()) {
    return `it takes the features ${signature.featureNames.join(", ")}`;
  }
  if (signature.featureDigest !== null && signature.featureDigest !== featureDigest) {
    return "it was made for another feature definition";
  }
  return null;
}
