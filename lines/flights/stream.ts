import { quoteText } from "@millrace/parquet";
import { type Shock, shockMinutes } from "./shock.ts";

/** A flight of the data set. */
export interface Flight {
  /** Row in the file, from 0. */
  readonly row: number;
  /** When it is due to depart, ms. */
  readonly due: number;
  readonly origin: string;
  readonly destination: string;
  /** Miles. */
  readonly distance: number;
  /** Minutes late on arrival; negative when early. */
  readonly delay: number;
}

/** An event of the stream, as it is sent: the value of a record of its topic. */
export type FlightEvent =
  | {
      readonly kind: "departure";
      readonly time: number;
      readonly value: {
        readonly flight: string;
        readonly due: string;
        readonly origin: string;
        readonly destination: string;
        readonly distance: number;
      };
    }
  | {
      readonly kind: "arrival";
      readonly time: number;
      readonly value: {
        readonly flight: string;
        readonly landed: string;
        readonly origin: string;
        readonly destination: string;
        readonly delay: number;
      };
    };

/** A place in the stream: so many events at `timeMs` come before it, and all events of earlier times. */
export interface Place {
  readonly timeMs: number;
  readonly eventsAtTime: number;
}

export interface StreamOptions {
  /** Flights due earlier are left out, with their arrivals. */
  readonly startMs: number;
  /** Where to go on; the beginning is `{ timeMs: startMs, eventsAtTime: 0 }`. */
  readonly from: Place;
  /** Events at or after this time are left out. */
  readonly untilMs: number;
  readonly shock: Shock | null;
}

/** Runs a query on Parquet files, as `Parquet.queryBatches` does. */
export type Query = (
  sql: string,
  parameters: readonly number[],
) => AsyncIterable<{ readonly rows: number; readonly columns: Readonly<Record<string, ArrayLike<unknown>>> }>;

/** The day of the data set's first flight, and the day after its last flight has landed. */
export const FIRST_MS: number = Date.UTC(2001, 0, 1);
export const END_MS: number = Date.UTC(2001, 6, 3);

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** No flight takes longer from due to landed: 12 h in the air and 28 h late, with what a shock adds. */
const UNDER_WAY_DAYS = 2;

/**
 * The events of the data set `file` (vega-datasets, flights-3m.parquet) in event-time order, one batch per day. A
 * flight gives a departure event when it is due and an arrival event when it lands. The same options give the same
 * events; a stream from a later place is the rest of the same stream.
 */
export async function* flightEvents(
  query: Query,
  file: string,
  { startMs, from, untilMs, shock }: StreamOptions,
): AsyncGenerator<readonly FlightEvent[], void, void> {
  const firstDay = Math.floor(from.timeMs / DAY_MS) * DAY_MS;
  const underWay: Flight[][] = [];
  for (let day = firstDay - UNDER_WAY_DAYS * DAY_MS; day < firstDay; day += DAY_MS) {
    underWay.push(await flightsOf(query, file, day, startMs));
  }
  for (let day = firstDay; day < untilMs; day += DAY_MS) {
    const today = await flightsOf(query, file, day, startMs);
    underWay.push(today);
    const events = [
      ...underWay.flat().map((flight) => arrival(flight, shock)),
      ...today.map((flight) => departure(flight)),
    ]
      .filter(({ time }) => time >= day && time < Math.min(day + DAY_MS, untilMs))
      // Stable: arrivals come before departures of the same minute, and flights in the order of their rows.
      .sort((a, b) => a.time - b.time);
    underWay.shift();
    yield day === firstDay ? events.slice(lowerBound(events, from.timeMs) + from.eventsAtTime) : events;
  }
}

/** The index of the first event that is not before `timeMs`. */
function lowerBound(events: readonly FlightEvent[], timeMs: number): number {
  const index = events.findIndex(({ time }) => time >= timeMs);
  return index === -1 ? events.length : index;
}

type FlightColumns = { readonly [K in keyof Flight]: ArrayLike<Flight[K]> };

/** The flights due on a day, and not before `startMs`, in the order of due time and row. */
async function flightsOf(query: Query, file: string, dayMs: number, startMs: number): Promise<Flight[]> {
  const flights: Flight[] = [];
  const batches = query(
    `SELECT file_row_number AS "row", epoch_ms(date) AS due, origin, destination, distance, delay
     FROM read_parquet(${quoteText(file)}, file_row_number = true)
     WHERE date >= epoch_ms($1::BIGINT) AND date < epoch_ms($2::BIGINT) ORDER BY due, "row"`,
    [Math.max(dayMs, startMs), dayMs + DAY_MS],
  );
  for await (const { rows, columns } of batches) {
    const { row, due, origin, destination, distance, delay } = columns as unknown as FlightColumns;
    for (let i = 0; i < rows; i++) {
      flights.push({
        row: row[i] as number,
        due: due[i] as number,
        origin: origin[i] as string,
        destination: destination[i] as string,
        distance: distance[i] as number,
        delay: delay[i] as number,
      });
    }
  }
  return flights;
}

const idOf = ({ origin, destination, row }: Flight): string => `${origin}-${destination}-${row}`;

function departure(flight: Flight): FlightEvent {
  const { due, origin, destination, distance } = flight;
  return {
    kind: "departure",
    time: due,
    value: { flight: idOf(flight), due: new Date(due).toISOString(), origin, destination, distance },
  };
}

/** Half an hour on the ground and 450 miles an hour in the air, plus the delay; never before it was due. */
function arrival(flight: Flight, shock: Shock | null): FlightEvent {
  const { due, origin, destination, distance } = flight;
  const delay = flight.delay + shockMinutes(flight, shock);
  const minutes = Math.max(1, Math.round(30 + distance / 7.5) + delay);
  const landed = due + minutes * MINUTE_MS;
  return {
    kind: "arrival",
    time: landed,
    value: { flight: idOf(flight), landed: new Date(landed).toISOString(), origin, destination, delay },
  };
}
