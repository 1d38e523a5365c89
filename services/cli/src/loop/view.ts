/**
 * The live view: one snapshot in, lines of text out. Pure. A row is a list of pieces, each with a style, so that the
 * width is counted without colour codes; `paint` turns a piece into text for a terminal.
 */

import type { LiveQuality, Quality } from "@millrace/contracts";
import { bar, clockText, count, cut, decimal, durationText, power, timeText } from "../text.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Stage, StageName } from "./timeline.ts";

export type Style = "plain" | "dim" | "bold" | "title" | "good" | "warn" | "bad" | "accent";
export interface Piece {
  readonly text: string;
  readonly style: Style;
}
/** A low terminal does without empty rows, and then without those that begin with DETAIL. */
type Row = readonly Piece[];

const WIDTH_MIN = 80;
const WIDTH_MAX = 160;
const LABEL = 10;
/** Begins a row that a low terminal does without. */
const DETAIL: Piece = { text: " ".repeat(LABEL), style: "plain" };

const ANSI: Readonly<Record<Style, string>> = {
  plain: "",
  dim: "\u001b[2m",
  bold: "\u001b[1m",
  title: "\u001b[1;36m",
  good: "\u001b[32m",
  warn: "\u001b[33m",
  bad: "\u001b[31m",
  accent: "\u001b[36m",
};

/** The whole view as lines, none longer than `columns` (80 to 160 are used), and at most `height` of them. */
export function renderView(snapshot: Snapshot, columns: number, height: number, color: boolean): string[] {
  const width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, columns));
  const rows: Row[] = [
    header(snapshot, width),
    rule(width),
    ...parts(snapshot, width),
    ...(snapshot.doing === "" ? [] : [[label(""), piece(cut(snapshot.doing, width - LABEL), "warn")]]),
    [],
    ...stream(snapshot, width),
    [],
    ...serving(snapshot, width),
    [],
    ...drift(snapshot, width),
    ...governor(snapshot, width),
    ...training(snapshot, width),
    [],
    ...loopRows(snapshot, width),
    rule(width),
    [piece("Ctrl-C stops everything; the next `npm start` goes on from here.", "dim")],
  ];
  return toHeight(rows, height).map((row) => paintRow(fit(row, width), color));
}

function toHeight(rows: readonly Row[], height: number): readonly Row[] {
  if (rows.length <= height) return rows;
  const packed = rows.filter((row) => row.length > 0);
  if (packed.length <= height) return packed;
  return packed.filter((row) => row[0] !== DETAIL).slice(0, height);
}

function piece(text: string, style: Style = "plain"): Piece {
  return { text, style };
}

function label(text: string): Piece {
  return piece(text.padEnd(LABEL), "title");
}

function rule(width: number): Row {
  return [piece("─".repeat(width), "dim")];
}

function header(snapshot: Snapshot, width: number): Row {
  const elapsed = durationText(snapshot.nowMs - snapshot.startedAtMs);
  const title = cut(`${snapshot.line.name}  ${snapshot.line.title}`, width - 12 - elapsed.length);
  return [
    piece("MILLRACE  ", "title"),
    piece(title.padEnd(width - 10 - elapsed.length), "bold"),
    piece(elapsed, "dim"),
  ];
}

function parts(snapshot: Snapshot, width: number): Row[] {
  const rows: Piece[][] = [];
  for (const kind of ["server", "service"] as const) {
    let row: Piece[] = [label(kind === "server" ? "servers" : "services")];
    for (const part of snapshot.parts.filter((one) => one.kind === kind)) {
      const running = part.state === "running";
      const text = `${part.name}${running ? "" : ` ${part.state}`}   `;
      if (length(row) + 2 + text.trimEnd().length > width) {
        rows.push(row);
        row = [label("")];
      }
      row.push(piece("● ", running ? "good" : part.state === "failed" ? "bad" : "warn"), piece(text));
    }
    rows.push(row);
  }
  return rows;
}

function stream(snapshot: Snapshot, width: number): Row[] {
  const { player, counts } = snapshot;
  const time = timeText(snapshot.streamTimeMs);
  const source: Row =
    player === null
      ? [piece("  from your own producer", "dim")]
      : [
          piece(`  ${count(player.speed)}x`, "dim"),
          piece("  in "),
          piece(count(player.perSecond), "bold"),
          piece(" events/s"),
          ...(player.state === "playing" ? [] : [piece(`  player ${player.state}`, "warn")]),
        ];
  const lag = Object.entries(snapshot.lag).map(([step, records]) => `${step} ${count(records)}`);
  return [
    [
      label("stream"),
      piece(time, "bold"),
      ...source,
      piece(`  accepted ${count(snapshot.acceptedPerSecond)} events/s`),
    ],
    [
      label(""),
      piece(`sent ${count(counts.sent)} → accepted ${count(counts.accepted)}`),
      piece(` · rejected ${count(counts.rejected)}`, counts.rejected > 0 ? "warn" : "plain"),
    ],
    [
      label(""),
      piece(`features ${count(counts.featured)} → predictions ${count(counts.predicted)}`),
      piece(` · labelled ${count(counts.labelled)}`),
    ],
    [label("lag"), piece(cut(lag.length === 0 ? "-" : lag.join(" · "), width - LABEL), "dim")],
  ];
}

function serving(snapshot: Snapshot, width: number): Row[] {
  const { champion, quality } = snapshot;
  const who: Row =
    champion === null
      ? [label("serving"), piece("no model yet", "dim")]
      : [
          label("serving"),
          piece(`version ${champion.version}`, "good"),
          piece(`  ${champion.recipe}`, "bold"),
          piece(`  since ${clockText(champion.sinceMs, snapshot.zoneOffsetMinutes)}`),
          ...(champion.trainedUntilMs > 0
            ? [piece(`  trained until ${timeText(champion.trainedUntilMs)}`, "dim")]
            : []),
        ];
  if (quality.window === null) return [who, [label("quality"), piece("no labels yet", "dim")]];
  return [who, ...qualityRows(quality.window, snapshot, width)];
}

function qualityRows(quality: LiveQuality, snapshot: Snapshot, width: number): Row[] {
  const barWidth = Math.max(10, Math.min(40, width - LABEL - 60));
  const name = 31;
  const row = (who: string, scores: Partial<Quality>, style: Style): Row => [
    label(""),
    piece(who.padEnd(name)),
    piece(decimal(scores.averagePrecision).padStart(7), "bold"),
    piece(decimal(scores.auc).padStart(8)),
    piece(decimal(scores.logLoss).padStart(9)),
    piece("  "),
    piece(bar(scores.averagePrecision ?? 0, barWidth), style),
  ];
  const head = `newest ${count(quality.rows)} labels, live`;
  return [
    [
      label("quality"),
      piece(head.padEnd(name), "dim"),
      piece("AP".padStart(7) + "AUC".padStart(8) + "log loss".padStart(9), "dim"),
    ],
    row("what served", quality.serving, "good"),
    ...(quality.first === null
      ? []
      : [row(`first model (${snapshot.firstVersion ?? "?"}), not retrained`, quality.first, "warn")]),
    row(
      "base rate",
      { averagePrecision: quality.baseRate.averagePrecision, auc: 0.5, logLoss: Number.NaN },
      "dim",
    ),
  ];
}

/**
 * The evidence multiplies with each label, so the bar shows its logarithm: it fills evenly while harm lasts.
 */
function drift(snapshot: Snapshot, width: number): Row[] {
  const found = snapshot.drift;
  if (found === null || found.version === 0) {
    return [[label("drift"), piece("watching begins with the first trained model", "dim")]];
  }
  const share = Math.log(Math.max(1, found.statistic)) / Math.log(found.threshold);
  const style: Style = share >= 1 ? "bad" : share >= 0.5 ? "warn" : "good";
  const shifts = found.shifts
    .slice(0, width >= 120 ? 4 : 2)
    .map(({ feature, psi }) => `${feature} ${decimal(psi, 2)}`)
    .join(" · ");
  const last = found.lastReport;
  const where = share >= 0.25 && found.slice ? found.slice : "";
  return [
    [
      label("drift"),
      piece(bar(share, 20), style),
      piece("│ ", "dim"),
      piece(`evidence ${power(found.statistic)} of ${power(found.threshold)}`, style),
      piece(`  Brier ${decimal(found.referenceLoss)} → ${decimal(found.liveLoss)}`, "dim"),
      ...(width >= 100 ? [piece(` on ${count(found.rows)} labels`, "dim")] : []),
    ],
    ...(where === "" ? [] : [[label(""), piece(cut(where, width - LABEL), "warn")]]),
    ...(shifts === "" ? [] : [[DETAIL, piece(cut(`shifted inputs (PSI) ${shifts}`, width - LABEL), "dim")]]),
    ...(last === null
      ? []
      : [
          [
            DETAIL,
            piece(
              cut(
                `last report ${timeText(last.time)}: ${last.kind}, version ${last.version}, change since ${timeText(last.changeTime)}`,
                width - LABEL,
              ),
              "dim",
            ),
          ],
        ]),
  ];
}

function governor(snapshot: Snapshot, width: number): Row[] {
  const newest = snapshot.decisions.slice(-2).reverse();
  if (newest.length === 0) return [[label("governor"), piece("no decision yet", "dim")]];
  return newest.map((decision, i) => {
    const time = clockText(decision.decidedAtMs, snapshot.zoneOffsetMinutes);
    const outcome = `${decision.outcome} (${decision.trigger})`;
    return [
      i === 0 ? label("governor") : DETAIL,
      piece(`${time}  `, "dim"),
      piece(outcome, decision.outcome === "admitted" ? "good" : "warn"),
      piece(`  ${cut(decision.reason, width - LABEL - time.length - outcome.length - 4)}`),
    ];
  });
}

function training(snapshot: Snapshot, width: number): Row[] {
  const rows: Row[] = [];
  const { training: step, verdict, swap } = snapshot;
  if (step === null) rows.push([label("training"), piece("idle", "dim")]);
  else {
    const what = [step.stage, step.candidate, step.message].filter((text) => text !== "").join("  ");
    rows.push([
      label("training"),
      piece(bar(step.done, 20), "accent"),
      piece("│ ", "dim"),
      piece(`${Math.round(Math.min(1, Math.max(0, step.done)) * 100)}%`.padStart(4)),
      piece(`  ${cut(what, width - LABEL - 30)}`),
    ]);
  }
  if (verdict !== null) {
    const champion = verdict.champion === null ? "" : ` against ${decimal(verdict.champion.logLoss)}`;
    const gates = verdict.gates.map(({ gate, passed }) => `${passed ? "✓" : "✗"} ${gate}`).join("  ");
    rows.push([
      label("judge"),
      piece(verdict.passed ? "passed" : "refused", verdict.passed ? "good" : "bad"),
      piece(`  log loss ${decimal(verdict.candidate.logLoss)}${champion} on ${count(verdict.heldOut.rows)}`),
      piece(cut(`  ${gates}`, Math.max(0, width - LABEL - 46)), "dim"),
    ]);
  }
  if (swap !== null) {
    const stages = Object.entries(swap.ms).map(([name, ms]) => `${name} ${durationText(ms)}`);
    rows.push([
      label("swap"),
      piece(`version ${swap.version ?? "-"}`, "good"),
      piece(` at ${clockText(swap.atMs, snapshot.zoneOffsetMinutes)}`),
      piece(`  ${cut(stages.join(" · "), width - LABEL - 34)}`, "dim"),
    ]);
  }
  return rows;
}

const STAGE_TEXT: Readonly<Record<StageName, string>> = {
  shock: "shock",
  drift: "drift",
  decision: "decision",
  dataset: "dataset",
  training: "training",
  judgement: "judgement",
  registered: "registered",
  promoted: "promoted",
  swapped: "swapped",
};

/** The loop as a chain of stages, each with the time since the stage before; wraps where it must. */
function loopRows(snapshot: Snapshot, width: number): Row[] {
  const { loop, player } = snapshot;
  const reached = loop.stages.filter((stage) => stage.atMs !== null);
  const waiting = player?.shockTimeMs ?? null;
  if (reached.length === 0) {
    const text =
      waiting === null ? "waits for drift" : `the world will change at ${timeText(waiting)} of the stream`;
    return [[label("loop"), piece(text, "dim")]];
  }
  const rows: Piece[][] = [];
  let row: Piece[] = [label("loop")];
  let before: number | null = null;
  for (const stage of stagesToShow(loop.stages)) {
    const time =
      stage.atMs === null
        ? ""
        : before === null
          ? ` ${clockText(stage.atMs, snapshot.zoneOffsetMinutes)}`
          : ` +${durationText(stage.atMs - before)}`;
    before = stage.atMs ?? before;
    const mark = stage.atMs === null ? "○" : "●";
    const text = `${STAGE_TEXT[stage.name]}${time}`;
    if (length(row) + text.length + 5 > width) {
      rows.push(row);
      row = [label("")];
    }
    row.push(
      piece(`${mark} `, stage.atMs === null ? "dim" : "good"),
      piece(`${text}   `, stage.atMs === null ? "dim" : "plain"),
    );
  }
  rows.push(row);
  const [first, last] = [reached[0]?.atMs ?? 0, reached.at(-1)?.atMs ?? 0];
  const span =
    loop.state === "complete"
      ? `version ${loop.version} serves ${durationText(last - first)} after the ${reached[0]?.name}`
      : loop.state === "ended"
        ? "the candidate was not better; the champion stays, and the watch goes on"
        : `${durationText(snapshot.nowMs - first)} since the ${reached[0]?.name}`;
  rows.push([label(""), piece(span, loop.state === "complete" ? "good" : "dim")]);
  return rows;
}

/** A loop without an injected shock begins with its drift report. */
function stagesToShow(stages: readonly Stage[]): readonly Stage[] {
  return stages.filter((stage) => stage.name !== "shock" || stage.atMs !== null);
}

function length(row: Row): number {
  return row.reduce((sum, { text }) => sum + text.length, 0);
}

function fit(row: Row, width: number): Row {
  const fitted: Piece[] = [];
  let left = width;
  for (const one of row) {
    if (left <= 0) break;
    fitted.push({ ...one, text: one.text.slice(0, left) });
    left -= one.text.length;
  }
  return fitted;
}

function paintRow(row: Row, color: boolean): string {
  const text = row.map((one) =>
    color && one.style !== "plain" && one.text.trim() !== ""
      ? `${ANSI[one.style]}${one.text}\u001b[0m`
      : one.text,
  );
  return text.join("").trimEnd();
}
