import type { FieldDefinition, LineDefinition, StreamDefinition } from "@millrace/lines";

/** What follows from the definition of a line. */
export interface TypesSource {
  /** Names of the features in model order. */
  readonly features: readonly string[];
  /** SHA-256 of the definition's feature part. */
  readonly featureDigest: string;
}

/**
 * The TypeScript module of a line: types of the events of its streams, of its entity and its features, and the line
 * itself for `predict` and `features.get`. `line` is a checked definition. Equal definitions give equal text.
 */
export function typesModule(line: LineDefinition, source: TypesSource): string {
  const prefix = pascal(line.name);
  const event = eventType(line, line.predict.on);
  const key = line.streams[line.predict.on]?.key.map(quote).join(" | ");
  const types = `${event}, ${prefix}Entity, ${prefix}Features`;
  return `/**
 * Types of the line ${line.name}: ${commentText(line.title)}
 * Written by \`npx millrace types ${line.name}\`: write it again when the line changes, do not edit it.
 */
import { type Line, line } from "@millrace/client";

${Object.keys(line.streams)
  .map((stream) => eventText(line, stream))
  .join("\n")}
/** Whom a prediction is about: the key fields of ${line.predict.on}, others as far as they are known. */
export type ${prefix}Entity = Pick<${event}, ${key}> & Partial<${event}>;

/** In model order. */
const FEATURES = [
${source.features.map((feature) => `  ${quote(feature)},`).join("\n")}
] as const;
export type ${prefix}FeatureName = (typeof FEATURES)[number];

/** The value of every feature; null: not known. */
export interface ${prefix}Features extends Readonly<Record<${prefix}FeatureName, number | null>> {}

export const ${constantName(line.name)}: Line<${types}> = line(${quote(line.name)}, {
  features: FEATURES,
  featureDigest: ${quote(source.featureDigest)},
});
`;
}

function eventText(line: LineDefinition, stream: string): string {
  const { topic, fields } = line.streams[stream] as StreamDefinition;
  return `/** An event of the stream ${stream}, as JSON on the Kafka topic ${topic}. */
export interface ${eventType(line, stream)} {
${Object.entries(fields).map(fieldText).join("\n")}
}
`;
}

const eventType = (line: LineDefinition, stream: string): string =>
  `${pascal(line.name)}${pascal(stream)}Event`;

function fieldText([name, field]: readonly [string, FieldDefinition]): string {
  const comment = FIELD_COMMENTS[field.type];
  const text = field.optional
    ? `  readonly ${name}?: ${fieldType(field)} | null;`
    : `  readonly ${name}: ${fieldType(field)};`;
  return comment === undefined ? text : `  /** ${comment} */\n${text}`;
}

const FIELD_COMMENTS: Partial<Record<FieldDefinition["type"], string>> = {
  time: "ISO 8601 with a zone, or ms since the epoch.",
  blob: "Base64.",
};

function fieldType(field: FieldDefinition): string {
  switch (field.type) {
    case "text":
    case "blob":
      return "string";
    case "category":
      return field.values?.map(quote).join(" | ") ?? "string";
    case "number":
    case "integer":
    case "decimal":
      return "number";
    case "boolean":
      return "boolean";
    case "time":
      return "string | number";
  }
}

/** A string literal of TypeScript. */
const quote = (text: string): string => JSON.stringify(text);

const commentText = (text: string): string => text.replaceAll("*/", "* /").replaceAll(/\s+/g, " ");

/** `my-line`, `my_stream` -> `MyLine`, `MyStream`. */
function pascal(name: string): string {
  return name.replaceAll(/(?:^|[-_])([^-_])?/g, (_, letter: string = "") => letter.toUpperCase());
}

/** `my-line` -> `myLine`. What is a word of the language, or the import's, gets `Line` behind it. */
function constantName(name: string): string {
  const camel = pascal(name).replace(/^./, (letter) => letter.toLowerCase());
  return RESERVED.test(camel) ? `${camel}Line` : camel;
}

const RESERVED =
  /^(line|arguments|await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|eval|export|extends|false|finally|for|function|if|implements|import|in|instanceof|interface|let|new|null|package|private|protected|public|return|static|super|switch|this|throw|true|try|typeof|var|void|while|with|yield)$/;
