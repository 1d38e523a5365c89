import { defineLine, type LineDefinition } from "@millrace/lines";

/**
 * Will this flight be more than 15 minutes late? Asked when it is due to depart, from what is known by then:
 * how late flights have been of late, by origin, destination, route and everywhere.
 */
const flights: LineDefinition = defineLine({
  name: "flights",
  title: "More than 15 minutes late?",
  streams: {
    departures: {
      topic: "flights.departures",
      id: "flight",
      time: "due",
      key: ["origin"],
      fields: {
        flight: { type: "text", maxLength: 64 },
        due: { type: "time" },
        origin: { type: "category", maxLength: 3 },
        destination: { type: "category", maxLength: 3 },
        distance: { type: "integer", min: 0, max: 12_000 },
      },
      lateMax: "3d",
    },
    arrivals: {
      topic: "flights.arrivals",
      id: "flight",
      time: "landed",
      key: ["origin"],
      fields: {
        flight: { type: "text", maxLength: 64 },
        landed: { type: "time" },
        origin: { type: "category", maxLength: 3 },
        destination: { type: "category", maxLength: 3 },
        /** Minutes; negative when early. */
        delay: { type: "integer", min: -1_440, max: 2_880 },
      },
      lateMax: "3d",
    },
  },
  predict: { on: "departures" },
  label: {
    name: "late",
    from: "arrivals",
    match: "flight",
    positive: { field: "delay", above: 15 },
    waitFor: "3d",
  },
  features: {
    hour: { kind: "hour", of: "due" },
    weekday: { kind: "weekday", of: "due" },
    distance: { kind: "field", field: "distance" },
    origin_late_1h: { kind: "window", aggregate: "share", from: "arrivals", by: ["origin"], window: "1h" },
    origin_late_4h: { kind: "window", aggregate: "share", from: "arrivals", by: ["origin"], window: "4h" },
    origin_late_24h: { kind: "window", aggregate: "share", from: "arrivals", by: ["origin"], window: "24h" },
    origin_count_4h: { kind: "window", aggregate: "count", from: "arrivals", by: ["origin"], window: "4h" },
    origin_delay_4h: {
      kind: "window",
      aggregate: "mean",
      of: "delay",
      from: "arrivals",
      by: ["origin"],
      window: "4h",
    },
    destination_late_1h: {
      kind: "window",
      aggregate: "share",
      from: "arrivals",
      by: ["destination"],
      window: "1h",
    },
    destination_late_4h: {
      kind: "window",
      aggregate: "share",
      from: "arrivals",
      by: ["destination"],
      window: "4h",
    },
    destination_late_24h: {
      kind: "window",
      aggregate: "share",
      from: "arrivals",
      by: ["destination"],
      window: "24h",
    },
    destination_delay_4h: {
      kind: "window",
      aggregate: "mean",
      of: "delay",
      from: "arrivals",
      by: ["destination"],
      window: "4h",
    },
    route_late_24h: {
      kind: "window",
      aggregate: "share",
      from: "arrivals",
      by: ["origin", "destination"],
      window: "24h",
    },
    route_late_7d: {
      kind: "window",
      aggregate: "share",
      from: "arrivals",
      by: ["origin", "destination"],
      window: "7d",
    },
    everywhere_late_1h: { kind: "window", aggregate: "share", from: "arrivals", by: [], window: "1h" },
    everywhere_late_4h: { kind: "window", aggregate: "share", from: "arrivals", by: [], window: "4h" },
    everywhere_late_24h: { kind: "window", aggregate: "share", from: "arrivals", by: [], window: "24h" },
  },
  recipes: [
    {
      recipe: "lightgbm",
      windows: ["all", "since-change"],
      // Small trees with many flights in each leaf: what is learnt from half a day must hold on the next one.
      config: { trees: 100, leaves: 15, learningRate: 0.05, minLeafRows: 100 },
    },
    { recipe: "logistic", windows: ["all"] },
  ],
  retrain: {
    firstAfter: 40_000,
    minChange: 8_000,
    cooldown: "18h",
    staleAfter: "14d",
    maxRunsPerDay: 2,
    learnFrom: "42d",
  },
  // Weather moves lateness faster than four hours of arrivals can tell: that alone is no reason to learn anew.
  drift: { tolerance: 0.1 },
});

export default flights;
