import {
  type FeatureDefinition,
  featureNames,
  type LineDefinition,
  type StreamDefinition,
} from "./definition.ts";
import { checkedDurationMs } from "./duration.ts";
import { checkExpression } from "./expression/check-expression.ts";
import type { ExpressionType } from "./expression/functions.ts";
import type { ExpressionScope } from "./expression/type-expression.ts";
import { COMPARABLE, type FieldType, type IssueList, NUMERIC } from "./line-issue.ts";
import { ratePaneMs, windowPaneMs } from "./panes.ts";

/** A vector has at most so many values. */
const VALUES_MAX = 4_096;
/** A window has at most so many panes: each of them may be read for each event. */
const PANES_MAX = 4_096;
/** So many panes at most are kept for one key, those for late events included. */
const KEPT_PANES_MAX = 20_000;

type Named<K extends FeatureDefinition["kind"]> = { readonly name: string } & Extract<
  FeatureDefinition,
  { readonly kind: K }
>;
type Aggregate = Named<"window">["aggregate"];

/** Which fields an aggregate is taken of; null: of events, not of a field. */
const FIELDS_OF: Readonly<Record<Aggregate, readonly FieldType[] | null>> = {
  count: null,
  share: null,
  since: null,
  sum: NUMERIC,
  mean: NUMERIC,
  min: NUMERIC,
  max: NUMERIC,
  stddev: NUMERIC,
  quantile: NUMERIC,
  last: [...NUMERIC, "boolean", "category"],
  first: [...NUMERIC, "boolean", "category"],
  distinct: COMPARABLE,
  "distinct-approx": COMPARABLE,
  top: ["category", "text"],
};

/** Everything about the features of a line whose stream predicted on is there. */
export function checkFeatures(line: LineDefinition, issues: IssueList): void {
  const names = new Set<string>();
  line.features.forEach((feature, i) => {
    const at = `features[${i}]`;
    for (const name of featureNames({ features: [feature] })) {
      if (names.has(name)) {
        issues.say(`${at}.name`, `value "${name}" is declared twice`, "Rename one of the features.");
      }
      names.add(name);
    }
    switch (feature.kind) {
      case "field":
        issues.field(`${at}.field`, line.predict.on, feature.field, [...NUMERIC, "boolean", "category"]);
        return;
      case "hour":
      case "weekday":
        issues.field(`${at}.of`, line.predict.on, feature.of, ["time"]);
        return;
      case "window":
        if (checkGroup(at, feature, line, issues)) checkWindow(at, feature, line, issues);
        return;
      case "rate":
        if (checkGroup(at, feature, line, issues)) checkRate(at, feature, line, issues);
        return;
      case "expression":
        checkRequestTime(`${at}.value`, feature, line, i, issues);
        return;
    }
  });
  if (names.size > VALUES_MAX) {
    issues.say("features", `a vector has ${names.size} values, more than ${VALUES_MAX}`, "Leave some out.");
  }
}

/** What a window and a rate have in common. False when there is no such stream to look at. */
function checkGroup(
  at: string,
  feature: Named<"window"> | Named<"rate">,
  line: LineDefinition,
  issues: IssueList,
): boolean {
  if (!issues.hasStream(`${at}.from`, feature.from)) return false;
  const { fields, key } = line.streams[feature.from] as StreamDefinition;
  feature.by.forEach((name, j) => {
    const path = `${at}.by[${j}]`;
    if (feature.by.indexOf(name) < j) {
      issues.say(path, `field "${name}" is named twice`, "Name it once.");
      return;
    }
    const counted = issues.field(path, feature.from, name, COMPARABLE);
    if (feature.from === line.predict.on || counted === null) return;
    const asked = issues.field(path, line.predict.on, name, COMPARABLE);
    if (asked !== null && kindOf(asked) !== kindOf(counted)) {
      issues.say(
        path,
        `field "${name}" is ${kindOf(counted)} in stream "${feature.from}" and ${kindOf(asked)} in "${line.predict.on}"`,
        "Values are equal only when they are of one type: declare the same type in both.",
      );
    }
  });
  if (feature.where !== undefined) {
    checkCondition(`${at}.where`, feature.where, { fields, features: [] }, issues);
  }
  if (line.partitions > 1 && !key.every((part) => feature.by.includes(part))) {
    issues.say(
      `${at}.by`,
      `records that this feature needs lie in several partitions: they are keyed by ${key.join(", ")}`,
      "Add the stream's key fields to `by`, or set partitions to 1.",
    );
  }
  return true;
}

/** Texts and categories are the same; decimals of different scales are not. */
function kindOf(field: StreamDefinition["fields"][string]): string {
  if (field.type === "category" || field.type === "text") return "text";
  return field.type === "decimal" ? `decimal with scale ${field.scale}` : field.type;
}

function checkWindow(at: string, feature: Named<"window">, line: LineDefinition, issues: IssueList): void {
  const { aggregate, from } = feature;
  const given = feature as { readonly of?: string; readonly k?: number; readonly q?: number };
  const types = FIELDS_OF[aggregate];
  if (types === null && given.of !== undefined) {
    issues.say(`${at}.of`, `${aggregate} takes no field`, "Remove it.");
  } else if (types !== null && given.of === undefined) {
    issues.say(
      `${at}.of`,
      `${aggregate} of what is missing`,
      `Name a field of stream "${from}" of type ${types.join(" or ")}.`,
    );
  } else if (types !== null && given.of !== undefined) {
    issues.field(`${at}.of`, from, given.of, types);
  }
  checkParameter(`${at}.k`, aggregate, "top", given.k, "how many of the most frequent, 1 to 100", issues);
  checkParameter(`${at}.q`, aggregate, "quantile", given.q, "which quantile, such as 0.95", issues);
  // That the label's stream is not there is said elsewhere.
  const { label } = line;
  if (aggregate === "share" && from !== label?.from && Object.hasOwn(line.streams, label?.from ?? from)) {
    issues.say(
      `${at}.from`,
      "share is the share of positive labels",
      label === null
        ? "Define a label, or use count with a `where`."
        : `Use the label's stream "${label.from}".`,
    );
  }
  checkPanes(at, feature, line, issues);
}

function checkRate(at: string, feature: Named<"rate">, line: LineDefinition, issues: IssueList): void {
  if (feature.of !== undefined) issues.field(`${at}.of`, feature.from, feature.of, NUMERIC);
  const paneMs = ratePaneMs(feature);
  const choice = "choose a longer half-life: its panes are a twelfth of it or shorter";
  checkKept(`${at}.halfLife`, { spanMs: paneMs, paneMs, choice }, feature, line, issues);
}

function checkParameter(
  path: string,
  aggregate: Aggregate,
  takes: Aggregate,
  value: number | undefined,
  meaning: string,
  issues: IssueList,
): void {
  if (aggregate === takes && value === undefined) {
    issues.say(path, `${aggregate} needs it`, `Say ${meaning}.`);
  } else if (aggregate !== takes && value !== undefined) {
    issues.say(path, `${aggregate} takes none`, "Remove it.");
  }
}

function checkPanes(at: string, feature: Named<"window">, line: LineDefinition, issues: IssueList): void {
  const windowMs = checkedDurationMs(feature.window);
  const paneMs = windowPaneMs(feature);
  const panes = windowMs / paneMs;
  if (!Number.isInteger(panes)) {
    issues.say(
      `${at}.pane`,
      `a window of ${feature.window} is not a whole number of panes of ${feature.pane}`,
      "Choose a pane that divides the window, or leave it out.",
    );
    return;
  }
  if (panes > PANES_MAX) {
    issues.say(
      `${at}.pane`,
      `the window has ${panes} panes, more than ${PANES_MAX}`,
      `Choose a pane of at least ${Math.ceil(windowMs / PANES_MAX / 1_000)}s that divides the window, or leave it out.`,
    );
    return;
  }
  const choice =
    `choose a pane of at least ${Math.ceil(keptMs(windowMs, feature, line) / KEPT_PANES_MAX / 1_000)}s that ` +
    "divides the window";
  checkKept(`${at}.pane`, { spanMs: windowMs, paneMs, choice }, feature, line, issues);
}

/** How long a pane is kept, ms: as long as a vector or an event may come that counts it. */
function keptMs(spanMs: number, { from }: Named<"window"> | Named<"rate">, line: LineDefinition): number {
  const late = [...new Set([line.predict.on, from])].map((name) =>
    checkedDurationMs((line.streams[name] as StreamDefinition).lateMax),
  );
  return late.reduce((sum, ms) => sum + ms, spanMs);
}

/** `choice` is what else can be done but to lower `lateMax`. */
function checkKept(
  path: string,
  { spanMs, paneMs, choice }: { readonly spanMs: number; readonly paneMs: number; readonly choice: string },
  feature: Named<"window"> | Named<"rate">,
  line: LineDefinition,
  issues: IssueList,
): void {
  const panes = Math.ceil(keptMs(spanMs, feature, line) / paneMs);
  if (panes <= KEPT_PANES_MAX) return;
  const late = [...new Set([line.predict.on, feature.from])].map((name) => `streams.${name}.lateMax`);
  issues.say(
    path,
    `${panes} panes would be kept for each key, more than ${KEPT_PANES_MAX}: those of the ` +
      `${feature.kind}, and those for events that come late`,
    `Lower ${late.join(" or ")}, or ${choice}.`,
  );
}

/** How a condition is made of what is none. */
const COMPARISONS: Readonly<Record<Exclude<ExpressionType, "boolean">, string>> = {
  number: "Compare it, for example with > 0.",
  text: 'Compare it, for example with == "yes".',
  time: "Compare it with another time, or take hour(...) or weekday(...) of it and compare that.",
};

function checkCondition(path: string, text: string, scope: ExpressionScope, issues: IssueList): void {
  const checked = checkExpression(text, scope);
  if (!checked.ok) return sayWhere(path, checked.issue, issues);
  if (checked.type === "boolean") return;
  issues.say(path, `the condition is a ${checked.type}, neither true nor false`, COMPARISONS[checked.type]);
}

function checkRequestTime(
  path: string,
  { value }: Named<"expression">,
  line: LineDefinition,
  i: number,
  issues: IssueList,
): void {
  const { fields } = line.streams[line.predict.on] as StreamDefinition;
  const before = line.features.slice(0, i);
  const checked = checkExpression(value, { fields, features: featureNames({ features: before }) });
  if (!checked.ok) return sayWhere(path, checked.issue, issues);
  const ambiguous = before.find(
    (feature) =>
      Object.hasOwn(fields, feature.name) &&
      !(feature.kind === "field" && feature.field === feature.name) &&
      checked.names.has(feature.name),
  );
  if (ambiguous !== undefined) {
    issues.say(
      path,
      `"${ambiguous.name}" is a field of the event and a feature of another meaning`,
      "Rename the feature: in an expression the name means the field.",
    );
  }
  if (checked.type === "number" || checked.type === "boolean") return;
  issues.say(
    path,
    `the value is a ${checked.type}, and a feature is a number`,
    checked.type === "time"
      ? "Subtract another time (that gives seconds), or take hour(...) or weekday(...) of it."
      : 'Compare it, for example with == "yes".',
  );
}

function sayWhere(
  path: string,
  { at, problem, remedy }: { readonly at: number; readonly problem: string; readonly remedy: string },
  issues: IssueList,
): void {
  issues.say(path, `at character ${at}: ${problem}`, remedy);
}
