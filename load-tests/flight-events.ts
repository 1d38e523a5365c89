import type { AcceptedEvent } from "@millrace/contracts";
import { random } from "@millrace/testkit";

const AIRPORTS = 120;
const MINUTE_MS = 60_000;
const FIRST_MS = Date.UTC(2024, 0, 1);
/** Seconds between departures, on average: 15,000 flights a day. */
const PACE_MS = 5_760;

/** Accepted events of so many flights, departure and arrival each, in event-time order; the same for each seed. */
export function flightEvents(flights: number, seed = 1): readonly AcceptedEvent[] {
  const draw = random(seed);
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
