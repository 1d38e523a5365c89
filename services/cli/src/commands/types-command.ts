/** `types`: the types of a line as a TypeScript module, for applications that ask it. */
import { writeFile } from "node:fs/promises";
import { typesModule } from "@millrace/client";
import { canonicalJson } from "@millrace/contracts";
import { featureNames, featurePart, isServedOnly } from "@millrace/lines";
import { sha256Hex } from "@millrace/runtime";
import type { Context } from "../context.ts";
import { errorText, Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import { lineOf } from "./features-commands.ts";

/** Of the line as it is in force. `out`: the file to write; without it the module is printed. */
export async function types(context: Context, name: string, out: string | undefined): Promise<Result> {
  return context.withClients(async (clients) => {
    const line = await lineOf(clients, name);
    if (isServedOnly(line)) {
      throw new Failure(
        `line "${name}" has no streams and no features, so there are no types`,
        "Ask its models with `infer` of @millrace/client; `models.metadata` says what they take.",
      );
    }
    const features = featureNames(line);
    const featureDigest = sha256Hex(canonicalJson(featurePart(line)));
    const module = typesModule(line, { features, featureDigest });
    const json = { line: name, featureDigest, features, out: out ?? null, module };
    if (out === undefined) return { json, text: module.trimEnd() };
    await writeFile(out, module).catch((cause: unknown) => {
      throw new Failure(`${out} cannot be written: ${errorText(cause)}`, "Name another file with --out.", {
        cause,
      });
    });
    return { json, text: `${out} has the types of ${name}: ${features.length} features` };
  });
}
