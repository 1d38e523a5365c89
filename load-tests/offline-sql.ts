/**
 * The 22 features of W1 as of the times of questions, in DuckDB's SQL: two formulations, each a list of statements whose
 * last one writes the result. Texts are turned into codes first, which makes both faster.
 *
 * Windows are made of whole panes, and end with the pane of the question, of which it sees what is not later than it.
 * Cents are whole numbers, so that all sums are exact, in whatever order.
 */
import { quoteFiles, quoteText } from "@millrace/parquet";

export type Formulation = "windows" | "panes";

export interface SqlInput {
  /** Blocks of the archive. */
  readonly files: readonly string[];
  /** Parquet with n, account and time. */
  readonly questions: string;
  readonly out: string;
}

/** Each window by its name, with its pane in ms and the number of its panes. */
const WINDOWS = [
  ["1m", 5_000, 12],
  ["10m", 60_000, 10],
  ["1h", 60_000, 60],
  ["24h", 600_000, 144],
] as const;
const DAY = WINDOWS[3];

export function offlineSql(formulation: Formulation, input: SqlInput): readonly string[] {
  const load = `CREATE TABLE raw AS SELECT "payments.account" AS account, "payments.merchant" AS merchant, time AS t,
    CAST("payments.amount" * 100 AS BIGINT) AS cents FROM ${quoteFiles(input.files)}`;
  const asked = `CREATE TABLE asked AS SELECT n, account, time AS t FROM ${quoteFiles([input.questions])}`;
  const code = (column: string, type: string): string =>
    `CAST(enum_code(CAST(${column} AS ${type})) AS INTEGER)`;
  return [
    load,
    asked,
    "CREATE TYPE accounts AS ENUM (SELECT account FROM raw UNION SELECT account FROM asked)",
    "CREATE TYPE merchants AS ENUM (SELECT DISTINCT merchant FROM raw)",
    `CREATE TABLE e AS SELECT ${code("account", "accounts")} AS account, ${code("merchant", "merchants")} AS merchant,
      t, cents FROM raw`,
    `CREATE TABLE q AS SELECT n, ${code("account", "accounts")} AS account, t FROM asked`,
    "DROP TABLE raw",
    ...(formulation === "windows" ? windowStatements() : paneStatements()),
    `COPY (SELECT n, ${values()} FROM answers ORDER BY n) TO ${quoteText(input.out)} (FORMAT parquet)`,
  ];
}

/**
 * One query: events and questions together, a frame from the beginning of a window's first pane for each row. DOUBLE
 * sums are exact here, below 2^53, and faster than those of integers.
 */
function windowStatements(): string[] {
  const frames = WINDOWS.map(([name, pane, panes]) => {
    const begin = `(t - ((t // ${pane}) - ${panes - 1}) * ${pane})`;
    return `w_${name} AS (PARTITION BY account ORDER BY t RANGE BETWEEN ${begin} PRECEDING AND CURRENT ROW)`;
  });
  const totals = WINDOWS.flatMap(([name]) => [
    `count(cents) OVER w_${name} AS c_${name}`,
    `sum(cents) OVER w_${name} AS s_${name}`,
    `sum(cents * cents) OVER w_${name} AS q_${name}`,
    `max(cents) OVER w_${name} AS m_${name}`,
  ]);
  const others = ["count(DISTINCT merchant) OVER w_24h AS merchants", "max(happened) OVER w_24h AS previous"];
  return [
    `CREATE TABLE answers AS SELECT * FROM (
      SELECT n, t, ${[...totals, ...others].join(", ")} FROM (
        SELECT NULL AS n, account, t, t AS happened, merchant, CAST(cents AS DOUBLE) AS cents FROM e
        UNION ALL SELECT n, account, t, NULL, NULL, NULL FROM q)
      WINDOW ${frames.join(", ")}) WHERE n IS NOT NULL`,
  ];
}

/**
 * Events are added up to panes first; each question is joined with the panes of its windows by their numbers, and with
 * the events of its own pane. Different merchants cannot be added up: they are counted by a window function.
 */
function paneStatements(): string[] {
  const tables = [5_000, 60_000, 600_000].map(
    (pane) => `CREATE TABLE panes_${pane} AS SELECT account, t // ${pane} AS pane, count(*) AS c,
      CAST(sum(cents) AS BIGINT) AS s, CAST(sum(cents * cents) AS BIGINT) AS q, max(cents) AS m FROM e GROUP BY ALL`,
  );
  const totals = (name: string, filter: string): string =>
    `sum(c) ${filter} AS wc_${name}, sum(s) ${filter} AS ws_${name}, sum(q) ${filter} AS wq_${name}, max(m) ${filter} AS wm_${name}`;
  const whole = (
    pane: number,
    windows: readonly (readonly [name: string, pane: number, panes: number])[],
  ): string => {
    const longest = Math.max(...windows.map(([, , panes]) => panes));
    const columns = windows.map(([name, , panes]) =>
      totals(name, panes === longest ? "" : `FILTER (WHERE pane > own - ${panes})`),
    );
    return `CREATE TABLE whole_${pane} AS SELECT n, ${columns.join(", ")} FROM (
        SELECT n, account, t // ${pane} AS own, unnest(range(t // ${pane} - ${longest - 1}, t // ${pane})) AS pane FROM q)
      JOIN panes_${pane} USING (account, pane) GROUP BY n`;
  };
  const begun = [5_000, 60_000, 600_000].map((pane) => {
    const filter = `FILTER (WHERE e.t // ${pane} = q.t // ${pane})`;
    return `count(*) ${filter} AS bc_${pane}, sum(cents) ${filter} AS bs_${pane},
      sum(cents * cents) ${filter} AS bq_${pane}, max(cents) ${filter} AS bm_${pane}`;
  });
  const both = WINDOWS.map(([name, pane]) => {
    const added = ["c", "s", "q"].map(
      (part) => `coalesce(w${part}_${name}, 0) + coalesce(b${part}_${pane}, 0) AS ${part}_${name}`,
    );
    return [...added, `greatest(wm_${name}, bm_${pane}) AS m_${name}`].join(", ");
  });
  const [, pane, panes] = DAY;
  return [
    ...tables,
    whole(5_000, [WINDOWS[0]]),
    whole(60_000, [WINDOWS[1], WINDOWS[2]]),
    whole(pane, [DAY]),
    `CREATE TABLE begun AS SELECT n, ${begun.join(", ")} FROM q JOIN e
      ON q.account = e.account AND q.t // ${pane} = e.t // ${pane} AND e.t <= q.t GROUP BY n`,
    `CREATE TABLE met AS SELECT n, merchants FROM (
      SELECT n, count(DISTINCT merchant) OVER (PARTITION BY account ORDER BY t
        RANGE BETWEEN (t - ((t // ${pane}) - ${panes - 1}) * ${pane}) PRECEDING AND CURRENT ROW) AS merchants
      FROM (SELECT NULL AS n, account, t, merchant FROM e UNION ALL SELECT n, account, t, NULL FROM q))
      WHERE n IS NOT NULL`,
    `CREATE TABLE before AS SELECT n, CASE WHEN e.t >= (q.t // ${pane} - ${panes - 1}) * ${pane} THEN e.t END AS previous
      FROM q ASOF LEFT JOIN e ON q.account = e.account AND q.t >= e.t`,
    `CREATE TABLE answers AS SELECT n, t, ${both.join(", ")}, merchants, previous FROM q
      LEFT JOIN whole_5000 USING (n) LEFT JOIN whole_60000 USING (n) LEFT JOIN whole_600000 USING (n)
      LEFT JOIN begun USING (n) LEFT JOIN met USING (n) LEFT JOIN before USING (n)`,
  ];
}

/** The values of the vectors, in the order and by the names of `w1Line`. */
function values(): string {
  const number = (sql: string): string => `CAST(${sql} AS DOUBLE)`;
  const windows = WINDOWS.flatMap(([name]) => {
    const [c, s, q, m] = ["c", "s", "q", "m"].map((part) => `${part}_${name}`) as [
      string,
      string,
      string,
      string,
    ];
    // Beyond 2^53 the difference must be taken of integers.
    const spread = number(
      `CAST(${c} AS HUGEINT) * CAST(${q} AS HUGEINT) - CAST(${s} AS HUGEINT) * CAST(${s} AS HUGEINT)`,
    );
    return [
      `${number(c)} AS count_${name}`,
      `coalesce(${number(s)}, 0) / 100 AS sum_${name}`,
      `${number(s)} / nullif(${number(c)} * 100, 0) AS mean_${name}`,
      `${number(m)} / 100 AS max_${name}`,
      `sqrt(${spread}) / nullif(${number(c)}, 0) / 100 AS stddev_${name}`,
    ];
  });
  return [
    ...windows,
    `${number("merchants")} AS merchants_24h`,
    `${number("t - previous")} / 1000 AS seconds_since_previous`,
  ].join(", ");
}
