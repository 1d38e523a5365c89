/** `apply` and `lines`. */
import { canonicalJson, type registryApi } from "@millrace/contracts";
import type { LineDefinition } from "@millrace/lines";
import type { Context } from "../context.ts";
import { differences, differenceText } from "../differences.ts";
import type { Result } from "../io.ts";
import { loadLine } from "../line-file.ts";
import { shortDigest, table, timeText } from "../text.ts";

/** Checks the definition, then makes it the line's newest revision. */
export async function apply(context: Context, path: string, checkOnly: boolean): Promise<Result> {
  const { file, line } = await loadLine(path, context.repository);
  if (checkOnly)
    return { json: { file, line: line.name, ok: true }, text: `${file} is a line: ${line.name}` };
  const definitionJson = canonicalJson(line);
  return context.withClients(async ({ registry }) => {
    const before = (await registry.listLines({})).lines.find(({ name }) => name === line.name);
    const { line: applied, changed } = await registry.applyLine({ definitionJson });
    const changes =
      before === undefined || !changed
        ? []
        : differences(JSON.parse(before.definitionJson), JSON.parse(definitionJson));
    const revision = Number(applied?.revision ?? 0n);
    const text = !changed
      ? `${line.name}: nothing changed, revision ${revision} is in force`
      : before === undefined
        ? `${line.name}: applied as revision ${revision}\n${topicsText(line)}`
        : [
            `${line.name}: revision ${revision} is in force now`,
            ...changes.map((one) => `  ${differenceText(one)}`),
          ].join("\n");
    return {
      json: { line: line.name, file, changed, revision, digest: applied?.digest ?? "", changes },
      text,
    };
  });
}

function topicsText(line: LineDefinition): string {
  return Object.entries(line.streams)
    .map(([name, { topic }]) => `  ${name}: send events to the Kafka topic ${topic}`)
    .join("\n");
}

/** Every line, with its revision, topics and champion. */
export async function lines(context: Context): Promise<Result> {
  return context.withClients(async ({ registry }) => {
    const [{ lines: found }, { sets }] = await Promise.all([
      registry.listLines({}),
      registry.getAspiredSet({}),
    ]);
    const rows = found.map((line) => describe(line, sets));
    return {
      json: { lines: rows },
      text:
        rows.length === 0
          ? "no lines yet: `npx millrace apply lines/flights`"
          : table(
              ["LINE", "REVISION", "APPLIED", "CHAMPION", "DIGEST", "TOPICS", "TITLE"],
              rows.map((row) => [
                row.name,
                String(row.revision),
                timeText(row.appliedAtMs),
                row.champion === null ? "-" : String(row.champion),
                shortDigest(row.digest),
                row.topics.join(" "),
                row.title,
              ]),
            ),
    };
  });
}

function describe(line: registryApi.Line, sets: readonly registryApi.AspiredSet[]) {
  const definition = JSON.parse(line.definitionJson) as LineDefinition;
  const champion = sets.find((set) => set.line === line.name)?.models.find(({ role }) => role === "champion");
  return {
    name: line.name,
    title: definition.title,
    revision: Number(line.revision),
    digest: line.digest,
    appliedAtMs: Number(line.appliedAtMs),
    topics: Object.values(definition.streams).map(({ topic }) => topic),
    champion: champion === undefined ? null : Number(champion.version),
  };
}
