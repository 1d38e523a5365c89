import { LINE_TOPIC_KINDS } from "@millrace/contracts";
import { type FieldDefinition, type LineDefinition, MINOR_UNITS_MAX } from "./definition.ts";
import { COMPARABLE, type IssueList, NAMING, NUMERIC } from "./line-issue.ts";

/** What streams, label and recipes refer to. */
export function checkReferences(line: LineDefinition, issues: IssueList): void {
  checkStreams(line, issues);
  issues.hasStream("predict.on", line.predict.on);
  if (line.features.length === 0) {
    issues.say("features", "no features", "Declare at least one: it is what a model sees of an event.");
  }
  checkLabel(line, issues);
}

function checkStreams(line: LineDefinition, issues: IssueList): void {
  const topics = new Map<string, string>();
  for (const [name, stream] of Object.entries(line.streams)) {
    const at = `streams.${name}`;
    const other = topics.get(stream.topic);
    if (other !== undefined) {
      issues.say(
        `${at}.topic`,
        `topic "${stream.topic}" is already the topic of stream "${other}"`,
        "Give each stream its own topic.",
      );
    }
    topics.set(stream.topic, name);
    const own = LINE_TOPIC_KINDS.some((kind) => stream.topic === [line.name, kind].join("."));
    if (own) {
      issues.say(
        `${at}.topic`,
        `topic "${stream.topic}" is one that Millrace writes`,
        "Choose another topic name.",
      );
    }
    issues.requiredField(`${at}.id`, name, stream.id, NAMING);
    issues.requiredField(`${at}.time`, name, stream.time, ["time"]);
    stream.key.forEach((key, i) => issues.requiredField(`${at}.key[${i}]`, name, key, COMPARABLE));
    for (const [field, definition] of Object.entries(stream.fields)) {
      checkField(`${at}.fields.${field}`, definition, issues);
    }
  }
  const keys = Object.values(line.streams).map((stream) => stream.key.join(","));
  if (line.partitions > 1 && new Set(keys).size > 1) {
    issues.say(
      "streams",
      "streams are keyed by different fields, so an event and its label can lie in different partitions",
      "Give all streams the same key, or set partitions to 1.",
    );
  }
}

function checkField(at: string, field: FieldDefinition, issues: IssueList): void {
  if (
    field.type === "text" &&
    field.claimAbove !== undefined &&
    field.claimAbove >= (field.maxLength ?? Infinity)
  ) {
    issues.say(
      `${at}.claimAbove`,
      `no text is longer than maxLength ${field.maxLength}, so that none would be claimed`,
      "Lower claimAbove, or leave it out.",
    );
  }
  if (field.type !== "number" && field.type !== "integer" && field.type !== "decimal") return;
  const { min = -Infinity, max = Infinity } = field;
  if (min > max) {
    issues.say(`${at}.min`, `min ${min} is above max ${max}`, "No value would be accepted: exchange them.");
  }
  if (field.type !== "decimal") return;
  const largest = (MINOR_UNITS_MAX - 1) / 10 ** field.scale;
  for (const [name, bound] of [
    ["min", field.min],
    ["max", field.max],
  ] as const) {
    if (bound === undefined || Math.abs(bound) <= largest) continue;
    issues.say(
      `${at}.${name}`,
      `${bound} with ${field.scale} decimal places is not exact`,
      `Stay within ${Math.floor(largest)}, or lower the scale.`,
    );
  }
}

function checkLabel({ label, recipes }: LineDefinition, issues: IssueList): void {
  if (label === null) {
    if (recipes.length > 0) {
      issues.say(
        "recipes",
        "a line without a label learns nothing",
        "Remove the recipes, or define a label.",
      );
    }
    return;
  }
  if (recipes.length === 0) {
    issues.say(
      "recipes",
      "a line with a label needs a recipe",
      'Name one, for example "lightgbm"; or set label to null for a line of features only.',
    );
  }
  if (!issues.hasStream("label.from", label.from)) return;
  issues.requiredField("label.match", label.from, label.match, NAMING);
  issues.requiredField("label.positive.field", label.from, label.positive.field, NUMERIC);
}
