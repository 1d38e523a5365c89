/** Panes are numbered from here, so that numbers are small: those of panes of 1 s reach from 1992 to 2060. */
const ORIGIN_MS: number = Date.UTC(2026, 0, 1);
const NUMBER_MAX = 2 ** 30;

/** The number of the pane that a time lies in. */
export function paneOf(timeMs: number, paneMs: number): number {
  return Math.floor(timeMs / paneMs) - originOf(paneMs);
}

/** When a pane begins, ms. */
export function paneStartMs(pane: number, paneMs: number): number {
  return (pane + originOf(paneMs)) * paneMs;
}

/** How many panes there are from 1970 to the one that is number 0. */
export function originOf(paneMs: number): number {
  return Math.floor(ORIGIN_MS / paneMs);
}

/** Whether a pane has a number: panes of a second that are decades away have none. */
export function isPane(pane: number): boolean {
  return pane >= -NUMBER_MAX && pane <= NUMBER_MAX;
}

export function clampPane(pane: number): number {
  return Math.max(-NUMBER_MAX, Math.min(NUMBER_MAX, pane));
}
