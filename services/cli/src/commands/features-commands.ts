/** `features get`, `features verify`: what the stream knows of an entity now, and whether what it served is true. */
import { type Difference, isReproduced, type Verification, verifySpan } from "@millrace/archive";
import { canonicalJson } from "@millrace/contracts";
import { checkLine, eventLog, featurePart, type LineDefinition } from "@millrace/lines";
import { sha256Hex } from "@millrace/runtime";
import type { Block } from "@millrace/stream";
import type { Context } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import type { Clients } from "../mesh.ts";
import { count, durationText, table, timeText } from "../text.ts";

export interface VerifyOptions {
  /** Newest archived events of each partition whose vectors are computed again. */
  readonly events: number;
  /** Every archived event. */
  readonly all?: true;
}

/** The vector of an entity now. */
export async function getFeatures(context: Context, line: string, entityJson: string): Promise<Result> {
  return context.withClients(async ({ feature }) => {
    const { names, values, updatedMs, ageMs, asOfMs } = await feature.getVector({ line, entityJson });
    const known = values.map((value) => (Number.isNaN(value) ? null : value));
    const age =
      ageMs < 0n ? "nothing is known of it" : `its newest event is ${durationText(Number(ageMs))} old`;
    return {
      json: {
        line,
        asOfMs: Number(asOfMs),
        updatedMs: ageMs < 0n ? null : Number(updatedMs),
        ageMs: ageMs < 0n ? null : Number(ageMs),
        features: Object.fromEntries(names.map((name, i) => [name, known[i] ?? null])),
      },
      text: [
        `as of ${timeText(Number(asOfMs), true)} of the stream; ${age}`,
        table(
          ["FEATURE", "VALUE"],
          names.map((name, i) => [name, known[i] === null ? "unknown" : String(known[i])]),
        ),
      ].join("\n"),
    };
  });
}

/** Computes vectors again from the archive and compares them with those that were served. Exit code 1: some differ. */
export async function verifyFeatures(
  context: Context,
  name: string,
  { events, all }: VerifyOptions,
): Promise<Result> {
  return context.withClients(async (clients) => {
    const line = await lineOf(clients, name);
    const digest = sha256Hex(canonicalJson(featurePart(line)));
    const blocks = await clients.archivedBlocks(eventLog(line).topic);
    if (blocks.length === 0) {
      throw new Failure(
        `nothing of line "${name}" is archived yet`,
        "Ingest writes a block every 30 s, and when it stops: try again then.",
      );
    }
    const results: Verification[] = [];
    for (const [partition, ours] of Map.groupBy(blocks, (block) => block.partition)) {
      if (!context.json) context.io.writeError(`partition ${partition} ...\n`);
      const until = Math.max(...ours.map((block) => block.nextOffset));
      const from = all === true ? firstOf(ours) : Math.max(firstOf(ours), until - events);
      const { broker, archive } = clients;
      const ports = { ...archive, broker };
      results.push(await verifySpan(line, digest, partition, { from, until }, ours, ports, context.stop));
    }
    const good = results.every(isReproduced);
    return {
      json: { line: name, reproduced: good, partitions: results },
      text: report(results),
      exitCode: good ? 0 : 1,
    };
  });
}

const firstOf = (blocks: readonly Block[]): number => Math.min(...blocks.map((block) => block.firstOffset));

/** The applied line of a name. Throws a Failure when there is none. */
export async function lineOf({ registry }: Clients, name: string): Promise<LineDefinition> {
  const { lines } = await registry.listLines({});
  const found = lines.find((line) => line.name === name);
  if (found === undefined) {
    throw new Failure(`line "${name}" is not applied`, "`npx millrace lines` lists those that are.");
  }
  const checked = checkLine(JSON.parse(found.definitionJson));
  if (checked.ok) return checked.line;
  throw new Failure(
    `line "${name}" is of another version of Millrace`,
    `Apply it again: npx millrace apply lines/${name}.`,
  );
}

function report(results: readonly Verification[]): string {
  const rows = results.map(({ partition, span, vectors, values, differing, missing, surplus }) => [
    String(partition),
    `${count(span.from)} to ${count(span.until)}`,
    count(vectors),
    count(values),
    count(differing),
    count(missing),
    count(surplus),
  ]);
  const differences = results.flatMap((result) => result.differences);
  return [
    table(["PARTITION", "EVENTS", "VECTORS", "VALUES", "DIFFERENT", "MISSING", "SURPLUS"], rows),
    ...(differences.length === 0
      ? []
      : [
          "",
          table(
            ["ID", "AT", "FEATURE", "SERVED", "COMPUTED"],
            differences.map(({ id, offset, feature, served, computed }: Difference) => [
              id,
              String(offset),
              feature,
              served === null ? "unknown" : String(served),
              computed === null ? "unknown" : String(computed),
            ]),
          ),
        ]),
    results.every(isReproduced)
      ? "What was served is what the archive gives."
      : "What was served cannot be computed again: see the differences.",
  ].join("\n");
}
