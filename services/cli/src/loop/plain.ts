/** The loop as plain lines, where the terminal cannot be redrawn: what is new since the snapshot before. Pure. */
import { clockText, count, decimal, durationText, power, timeText } from "../text.ts";
import type { Snapshot } from "./snapshot.ts";

/** One line for each thing that matters and happened between two snapshots; each begins with the time of day. */
export function newLines(before: Snapshot | null, after: Snapshot): string[] {
  const at = (ms: number): string => clockText(ms, after.zoneOffsetMinutes);
  const lines: string[] = [];
  const known = new Map(before?.parts.map(({ name, state }) => [name, state]) ?? []);
  for (const part of after.parts) {
    if (known.get(part.name) !== part.state)
      lines.push(`${at(after.nowMs)} ${part.kind} ${part.name} ${part.state}`);
  }
  if (after.doing !== "" && after.doing !== before?.doing) lines.push(`${at(after.nowMs)} ${after.doing}`);
  for (const decision of after.decisions.slice(before?.decisions.length ?? after.decisions.length)) {
    lines.push(
      `${at(decision.decidedAtMs)} governor ${decision.outcome} (${decision.trigger}): ${decision.reason}`,
    );
  }
  const step = after.training;
  if (
    step !== null &&
    (step.stage !== before?.training?.stage || step.candidate !== before?.training?.candidate)
  ) {
    lines.push(
      `${at(step.atMs)} run ${[step.stage, step.candidate, step.message].filter((text) => text !== "").join(" · ")}`,
    );
  }
  if (after.champion !== null && after.champion.version !== before?.champion?.version) {
    lines.push(
      `${at(after.champion.sinceMs)} champion is version ${after.champion.version} (${after.champion.recipe})`,
    );
  }
  if (after.swap !== null && after.swap.atMs !== before?.swap?.atMs) {
    const ms = Object.entries(after.swap.ms).map(([name, value]) => `${name} ${durationText(value)}`);
    lines.push(
      `${at(after.swap.atMs)} inference serves version ${after.swap.version ?? "-"} (${ms.join(", ")})`,
    );
  }
  let previousMs: number | null = null;
  for (const { name, atMs } of after.loop.stages) {
    if (atMs === null) continue;
    const was = before?.loop.stages.find((stage) => stage.name === name)?.atMs ?? null;
    const gap = previousMs === null ? "" : ` (+${durationText(atMs - previousMs)})`;
    if (atMs !== was) lines.push(`${at(atMs)} loop: ${name}${gap}`);
    previousMs = atMs;
  }
  return lines;
}

/** The state of the stream and of the models in one line. */
export function stateLine(snapshot: Snapshot): string {
  const { counts, quality, drift, champion } = snapshot;
  const window = quality.window;
  const lag = Object.values(snapshot.lag).reduce((sum, records) => sum + records, 0);
  return [
    `${clockText(snapshot.nowMs, snapshot.zoneOffsetMinutes)} stream ${timeText(snapshot.streamTimeMs)}`,
    `in ${count(snapshot.player?.perSecond ?? snapshot.acceptedPerSecond)}/s`,
    `accepted ${count(counts.accepted)} rejected ${count(counts.rejected)}`,
    `predicted ${count(counts.predicted)} labelled ${count(counts.labelled)} lag ${count(lag)}`,
    `champion ${champion === null ? "-" : champion.version}`,
    window === null
      ? "AP -"
      : `AP ${decimal(window.serving.averagePrecision)} first ${decimal(window.first?.averagePrecision)} base ${decimal(window.baseRate.averagePrecision)}`,
    `drift ${drift === null ? "-" : `${power(drift.statistic)} of ${power(drift.threshold)}`}`,
  ].join(" · ");
}
