import type { Flight } from "./stream.ts";

/** A change that is injected into the stream: it affects flights that are due from `fromMs` (event time) on. */
export interface Shock {
  readonly fromMs: number;
}

/** When the change comes unless the user says otherwise: after four days. */
export const SHOCK_DEFAULT_MS: number = Date.UTC(2001, 0, 6);

/** Half of all flights are shorter, in miles. */
const SHORT_MILES = 570;
const SHORT_FLIGHT_MINUTES = 45;
const LONG_FLIGHT_MINUTES = -40;

/**
 * Minutes that the change adds to a flight's delay. A third of the airports give their runway to long flights
 * first: short flights from there land 45 minutes later than they did, long ones 40 minutes earlier. So "late of
 * late at this airport" no longer means "late", it means "late if short, early if long": what a model has learned
 * before is wrong, and better features alone do not mend it.
 */
export function shockMinutes(
  flight: Pick<Flight, "due" | "origin" | "distance">,
  shock: Shock | null,
): number {
  if (shock === null || flight.due < shock.fromMs || !isSlow(flight.origin)) return 0;
  return flight.distance < SHORT_MILES ? SHORT_FLIGHT_MINUTES : LONG_FLIGHT_MINUTES;
}

/** Whether an airport is among the third that change: chosen by a hash (FNV-1a with a final mix) of its name. */
export function isSlow(airport: string): boolean {
  let hash = 0x811c9dc5;
  for (let i = 0; i < airport.length; i++) hash = Math.imul(hash ^ airport.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 12;
  return (hash >>> 0) % 3 === 0;
}
