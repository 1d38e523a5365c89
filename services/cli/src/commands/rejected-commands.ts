/** `rejected list`, `show` and `replay`. */
import { readFile } from "node:fs/promises";
import { HEADERS, lineTopic } from "@millrace/contracts";
import { REASONS } from "@millrace/events";
import type { OutputRecord } from "@millrace/stream";
import type { Context } from "../context.ts";
import { type Correction, correct, parseAssignment } from "../correction.ts";
import { errorText, Failure } from "../failure.ts";
import type { Result } from "../io.ts";
import { bytesText, type Rejection, readRejections } from "../rejected.ts";
import { count, cut, printable, table, timeText } from "../text.ts";

export interface ListOptions {
  readonly reason?: string;
  readonly limit: number;
}

/** The newest rejections, and how many there are for each reason. */
export async function listRejected(context: Context, line: string, options: ListOptions): Promise<Result> {
  return context.withClients(async ({ broker }) => {
    const byReason = new Map<string, number>();
    const newest: Rejection[] = [];
    await readRejections(broker, line, (rejection) => {
      byReason.set(rejection.reason, (byReason.get(rejection.reason) ?? 0) + 1);
      if (options.reason !== undefined && rejection.reason !== options.reason) return;
      newest.push(rejection);
      if (newest.length > options.limit * 2) newest.splice(0, newest.length - options.limit);
    });
    const shown = newest.slice(-options.limit).reverse();
    const total = [...byReason.values()].reduce((sum, one) => sum + one, 0);
    const reasons = [...byReason].sort(([, a], [, b]) => b - a);
    return {
      json: {
        line,
        total,
        byReason: Object.fromEntries(reasons),
        rejections: shown.map((one) => describe(one, 200)),
      },
      text:
        total === 0
          ? `no event of line "${line}" was rejected`
          : [
              `${count(total)} rejected: ${reasons.map(([reason, n]) => `${reason} ${count(n)}`).join(", ")}`,
              "",
              table(
                ["AT", "REJECTED (UTC)", "REASON", "FROM", "VALUE", "DETAIL"],
                shown.map((one) => [
                  one.at,
                  timeText(one.rejectedAtMs, true),
                  printable(one.reason),
                  originText(one),
                  cut(bytesText(one.value, 60), 60),
                  cut(printable(one.detail), 80),
                ]),
              ),
            ].join("\n"),
    };
  });
}

/** One rejection, whole. */
export async function showRejected(context: Context, line: string, at: string): Promise<Result> {
  checkPlace(at);
  return context.withClients(async ({ broker }) => {
    let found: Rejection | undefined;
    await readRejections(broker, line, (rejection) => {
      if (rejection.at === at) found = rejection;
    });
    if (found === undefined) throw nothingAt(line, at);
    const headers = Object.entries(found.headers).map(
      ([name, value]) => `  ${name}: ${bytesText(value, 500)}`,
    );
    return {
      json: { line, ...describe(found, 10_000_000) },
      text: [
        `${lineTopic(line, "rejected")}/${found.at}  rejected ${timeText(found.rejectedAtMs, true)} UTC`,
        `reason   ${printable(found.reason)}`,
        `detail   ${printable(found.detail)}`,
        ...remedyLines(found.reason),
        `from     ${originText(found)}`,
        `key      ${bytesText(found.key, 500)}`,
        ...(headers.length === 0 ? [] : ["headers", ...headers]),
        "value",
        bytesText(found.value, 20_000),
      ].join("\n"),
    };
  });
}

export interface ReplayOptions {
  readonly at?: readonly string[];
  readonly reason?: string;
  readonly all?: true;
  readonly set?: readonly string[];
  readonly drop?: readonly string[];
  readonly value?: string;
  readonly key?: string;
  readonly setHeader?: readonly string[];
  readonly dropHeader?: readonly string[];
  readonly dryRun?: true;
}

/**
 * Sends rejected records again, corrected, to the topic and partition where they came from, with the same key and
 * the producer's headers. Events carry ids, so that a record replayed twice counts once.
 */
export async function replayRejected(
  context: Context,
  line: string,
  options: ReplayOptions,
): Promise<Result> {
  const wanted = selection(options);
  const correction = await readCorrection(options);
  const headers = new Map((options.setHeader ?? []).map(readHeader));
  return context.withClients(async ({ broker }) => {
    const records: { rejection: Rejection; output: OutputRecord }[] = [];
    const skipped: { at: string; why: string }[] = [];
    const found = new Set<string>();
    await readRejections(broker, line, (rejection) => {
      if (!wanted(rejection)) return;
      found.add(rejection.at);
      const corrected = correct(rejection.value, correction);
      if (!corrected.ok) skipped.push({ at: rejection.at, why: corrected.why });
      else if (rejection.origin === null)
        skipped.push({ at: rejection.at, why: "it does not say where it came from" });
      else
        records.push({
          rejection,
          output: {
            topic: rejection.origin.topic,
            partition: rejection.origin.partition,
            key: options.key ?? rejection.key,
            value: corrected.value,
            headers: {
              ...correctHeaders(rejection.headers, headers, options.dropHeader ?? []),
              [HEADERS.replayOf]: `${lineTopic(line, "rejected")}/${rejection.at}`,
            },
          },
        });
    });
    const missing = options.at?.find((at) => !found.has(at));
    if (missing !== undefined) throw nothingAt(line, missing);
    if (options.dryRun !== true && records.length > 0) {
      await broker.send(records.map(({ output }) => output));
    }
    const verb = options.dryRun ? "would be sent" : "sent";
    return {
      json: {
        line,
        dryRun: options.dryRun === true,
        sent: records.map(({ rejection, output }) => ({
          at: rejection.at,
          to: `${output.topic}/${output.partition}`,
          value: bytesText(output.value as Uint8Array, 1_000),
        })),
        skipped,
      },
      text: [
        `${count(records.length)} ${verb}, ${count(skipped.length)} skipped`,
        ...records
          .slice(0, 20)
          .map(
            ({ rejection, output }) =>
              `  ${rejection.at} -> ${output.topic}/${output.partition}  ${bytesText(output.value as Uint8Array, 160)}`,
          ),
        ...(records.length > 20 ? [`  and ${count(records.length - 20)} more`] : []),
        ...skipped.slice(0, 20).map(({ at, why }) => `  ${at} skipped: ${why}`),
        ...(skipped.length > 20 ? [`  and ${count(skipped.length - 20)} more skipped`] : []),
      ].join("\n"),
      exitCode: skipped.length > 0 ? 1 : 0,
    };
  });
}

function selection(options: ReplayOptions): (rejection: Rejection) => boolean {
  const given = [options.at, options.reason, options.all].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw new Failure(
      "say which rejections to replay: one of --at, --reason or --all",
      "For example: millrace rejected replay flights --at 0/17 --set delay=12",
    );
  }
  options.at?.forEach(checkPlace);
  if (options.at !== undefined) return ({ at }) => options.at?.includes(at) === true;
  return ({ reason }) => options.reason === undefined || reason === options.reason;
}

async function readCorrection(options: ReplayOptions): Promise<Correction> {
  const set = new Map<string, unknown>();
  for (const text of options.set ?? []) {
    try {
      set.set(...parseAssignment(text));
    } catch (cause) {
      throw new Failure(`--set ${text}: ${errorText(cause)}`, "Repeat --set for each field.", { cause });
    }
  }
  const file = options.value;
  const value =
    file === undefined
      ? null
      : await readFile(file).catch((cause: unknown) => {
          throw new Failure(`--value ${file} cannot be read`, "Name a file with the corrected value.", {
            cause,
          });
        });
  return { set, drop: options.drop ?? [], value };
}

function readHeader(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Failure(`--set-header ${text}: no name=value`, "For example: --set-header ce_specversion=1.0");
}

function correctHeaders(
  given: Rejection["headers"],
  set: ReadonlyMap<string, string>,
  drop: readonly string[],
): Record<string, Uint8Array | string> {
  const kept = Object.entries(given).filter(([name]) => !drop.includes(name));
  return Object.fromEntries([...kept, ...set]);
}

function describe(rejection: Rejection, valueMax: number) {
  return {
    at: rejection.at,
    reason: rejection.reason,
    detail: rejection.detail,
    origin: rejection.origin,
    rejectedAtMs: rejection.rejectedAtMs,
    key: rejection.key === null ? null : bytesText(rejection.key, 500),
    headers: Object.fromEntries(
      Object.entries(rejection.headers).map(([name, value]) => [name, bytesText(value, 500)]),
    ),
    value: rejection.value === null ? null : bytesText(rejection.value, valueMax),
  };
}

function originText({ origin }: Rejection): string {
  return origin === null ? "-" : `${origin.topic}/${origin.partition}/${origin.offset}`;
}

function remedyLines(reason: string): string[] {
  const known = Object.hasOwn(REASONS, reason) ? REASONS[reason as keyof typeof REASONS] : undefined;
  return known === undefined ? [] : [`means    ${known.means}`, `remedy   ${known.remedy}`];
}

function checkPlace(at: string): void {
  if (!/^\d+\/\d+$/.test(at)) {
    throw new Failure(
      `${at} is not PARTITION/OFFSET`,
      "Take it from the first column of `millrace rejected list`, for example 0/17.",
    );
  }
}

function nothingAt(line: string, at: string): Failure {
  return new Failure(
    `there is no rejection at ${at} of line "${line}"`,
    `\`npx millrace rejected list ${line}\` shows what there is.`,
  );
}
