import type { AcceptedEvent } from "@millrace/contracts";

const AIRPORTS = 120;
const MINUTE_MS = 60_000;
const FIRST_MS = Date.UTC(2024, 0, 1);
/** Seconds between departures, on average: 15,000 flights a day. */
const PACE_MS = 5_760;

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Accepted events of so many flights, departure and arrival each, in event-time order; the same for each seed. */
export function flightEvents(flights: number, seed = 1): readonly AcceptedEvent[] {
  const draw = chance(seed);
  // Few airports have most of the flights.
  const airport = (): string => `A${Math.floor(AIRPORTS * draw() ** 3)}`;
  const events: AcceptedEvent[] = [];
  for (let i = 0; i < flights; i++) {
    const id = `F${i}`;
    const [origin, destination] = [airport(), airport()];
    const due = FIRST_MS + Math.floor((i + draw()) * PACE_MS);
    const delay = Math.floor(90 * draw() ** 4) - 10;
    const landed = due + (60 + Math.floor(240 * draw()) + delay) * MINUTE_MS;
    const distance = Math.floor(200 + 3_000 * draw());
    events.push(
      { id, stream: "departures", time: due, data: { flight: id, due, origin, destination, distance } },
      { id, stream: "arrivals", time: landed, data: { flight: id, landed, origin, destination, delay } },
    );
  }
  return events.sort((a, b) => a.time - b.time);
}
