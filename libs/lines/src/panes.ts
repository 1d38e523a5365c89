import { checkedDurationMs, type Duration } from "./duration.ts";

/** A window is cut into at least so many panes where its author names none. */
export const PANES_MIN = 12;

const PANES: readonly Duration[] = [
  "1d",
  "12h",
  "6h",
  "3h",
  "1h",
  "30m",
  "10m",
  "5m",
  "1m",
  "30s",
  "10s",
  "5s",
  "1s",
];
const PANES_MS: readonly number[] = PANES.map(checkedDurationMs);
/** The shortest pane: a window of less than twelve seconds has fewer than twelve panes. */
const SHORTEST_MS = 1_000;

/** Length of a window's panes: as its author says, else the longest usual one that divides it into twelve or more. */
export function windowPaneMs({
  window,
  pane,
}: {
  readonly window: Duration;
  readonly pane?: Duration;
}): number {
  if (pane !== undefined) return checkedDurationMs(pane);
  const windowMs = checkedDurationMs(window);
  return PANES_MS.find((paneMs) => windowMs % paneMs === 0 && windowMs / paneMs >= PANES_MIN) ?? SHORTEST_MS;
}

/** Length of the panes in which a rate is counted: the longest usual one that fits twelve times into its half-life. */
export function ratePaneMs({ halfLife }: { readonly halfLife: Duration }): number {
  const halfLifeMs = checkedDurationMs(halfLife);
  return PANES_MS.find((paneMs) => halfLifeMs / paneMs >= PANES_MIN) ?? SHORTEST_MS;
}
