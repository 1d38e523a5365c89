import type { FieldDefinition, LineDefinition } from "./definition.ts";
import { isClaimed } from "./event-log.ts";
import { choose, suggest } from "./suggest.ts";

/** One thing wrong with a line definition. */
export interface LineIssue {
  /** Where, for example `features[3].window`. */
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

export type FieldType = FieldDefinition["type"];

export const NUMERIC: readonly FieldType[] = ["number", "integer", "decimal"];
/** Fields whose values are in the event itself and can be told apart: all but claims. */
export const COMPARABLE: readonly FieldType[] = [...NUMERIC, "boolean", "category", "text", "time"];
/** Fields that can name an event. */
export const NAMING: readonly FieldType[] = ["text", "category", "integer"];

/** Collects what is wrong with one line; knows its streams and fields. */
export class IssueList {
  readonly #streams: LineDefinition["streams"];
  readonly all: LineIssue[] = [];

  constructor({ streams }: Pick<LineDefinition, "streams">) {
    this.#streams = streams;
  }

  say(path: string, problem: string, remedy: string): void {
    this.all.push({ path, problem, remedy });
  }

  /** Says so when there is no such stream. */
  hasStream(path: string, name: string): boolean {
    if (Object.hasOwn(this.#streams, name)) return true;
    this.say(path, `there is no stream "${name}"`, suggest(name, Object.keys(this.#streams)));
    return false;
  }

  /** The field of a stream when it is there, of a fitting type and in the event itself; else says so. */
  field(path: string, stream: string, name: string, types: readonly FieldType[]): FieldDefinition | null {
    const fields = this.#streams[stream]?.fields ?? {};
    const found = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const fit = Object.entries(fields).filter(([, field]) => types.includes(field.type) && !isClaimed(field));
    const names = fit.map(([one]) => one);
    const remedy = (of: (names: readonly string[]) => string): string =>
      names.length === 0
        ? `Declare a field of type ${types.join(" or ")} in streams.${stream}.fields.`
        : of(names);
    if (found === undefined) {
      this.say(
        path,
        `stream "${stream}" has no field "${name}"`,
        remedy(() => suggest(name, names)),
      );
      return null;
    }
    if (isClaimed(found)) {
      this.say(path, `values of field "${name}" lie in the object store, not in the event`, remedy(choose));
      return null;
    }
    if (!types.includes(found.type)) {
      this.say(path, `field "${name}" is ${found.type}, not ${types.join(" or ")}`, remedy(choose));
      return null;
    }
    return found;
  }

  /** The same for a field that every event must have. */
  requiredField(path: string, stream: string, name: string, types: readonly FieldType[]): void {
    if (this.field(path, stream, name, types)?.optional !== true) return;
    this.say(
      path,
      `field "${name}" is optional`,
      "Only a required field can be an id, a time, a key, a match or what a label is read from.",
    );
  }
}
