import flights from "@millrace/line-flights";
import type { LineDefinition } from "@millrace/lines";

/** The line flights, which trains its first model sooner: so that a test sees a training and a swap. */
const earlyFlights: LineDefinition = {
  ...flights,
  retrain: { ...flights.retrain, firstAfter: 8_000, minChange: 4_000 },
};

export default earlyFlights;
