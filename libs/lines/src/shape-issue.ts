import type { z } from "zod";
import type { LineIssue } from "./line-issue.ts";
import { choose, suggest } from "./suggest.ts";

/** What zod calls things, as authors do. */
const WANTED: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object, { ... }",
  record: "an object, { ... }",
  array: "a list, [ ... ]",
};
const COUNTED: Readonly<Record<string, string>> = { string: "characters", array: "entries" };
const SHOWN_MAX = 40;

/** What is wrong with the shape of a definition: what stands there, and what to write. */
export function shapeIssue(issue: z.core.$ZodIssue): LineIssue {
  return { path: pathText(issue.path), ...said(issue) };
}

function said(issue: z.core.$ZodIssue): Pick<LineIssue, "problem" | "remedy"> {
  switch (issue.code) {
    case "unrecognized_keys":
      return {
        problem: `unknown ${issue.keys.map((key) => `"${key}"`).join(", ")}`,
        remedy: "Remove it or correct the spelling.",
      };
    case "invalid_type":
      return {
        problem: issue.expected === "int" ? `${shown(issue.input)} is no whole number` : found(issue.input),
        remedy: `Write ${WANTED[issue.expected] ?? issue.expected}.`,
      };
    case "too_small":
      return outside(issue, `${issue.inclusive ? "at least" : "more than"} ${issue.minimum}`);
    case "too_big":
      return outside(issue, `${issue.inclusive ? "at most" : "less than"} ${issue.maximum}`);
    case "invalid_value":
      if (issue.values.length === 1) {
        return { problem: found(issue.input), remedy: `Write ${String(issue.values[0])}, or leave it out.` };
      }
      return oneOf(issue.input, issue.values.map(String));
    case "invalid_union": {
      const { discriminator, options } = issue as { discriminator?: string; options?: readonly unknown[] };
      if (discriminator === undefined || options === undefined) return split(issue.message, issue.input);
      return oneOf((issue.input as Readonly<Record<string, unknown>>)[discriminator], options.map(String));
    }
    case "invalid_key":
      return split(issue.issues[0]?.message ?? issue.message, issue.path.at(-1));
    default:
      return split(issue.message, issue.input);
  }
}

function outside(
  { origin, input }: { readonly origin: string; readonly input?: unknown },
  bound: string,
): Pick<LineIssue, "problem" | "remedy"> {
  const counted = COUNTED[origin];
  if (counted === undefined) {
    return { problem: `${shown(input)} is out of range`, remedy: `Write a number of ${bound}.` };
  }
  const { length } = input as { readonly length: number };
  return { problem: `it has ${length} ${counted}`, remedy: `Write ${bound} ${counted}.` };
}

function oneOf(input: unknown, options: readonly string[]): Pick<LineIssue, "problem" | "remedy"> {
  const isText = typeof input === "string";
  return {
    problem: isText ? `${shown(input)} is none of the words that can stand here` : found(input),
    remedy: isText ? suggest(input, options) : choose(options),
  };
}

/** Messages of our own are `problem: remedy`. */
function split(message: string, input: unknown): Pick<LineIssue, "problem" | "remedy"> {
  const [problem, remedy] = message.split(": ", 2) as [string, string | undefined];
  if (remedy === undefined)
    return { problem: found(input), remedy: "Write a number, a text, true or false." };
  const isShown = input !== undefined && typeof input !== "object";
  return { problem: isShown ? `${problem}: ${shown(input)}` : problem, remedy: `Here: ${remedy}.` };
}

function found(input: unknown): string {
  if (input === undefined) return "it is missing";
  if (Array.isArray(input)) return "it is a list";
  if (input === null || typeof input === "object") return `it is ${input === null ? "null" : "an object"}`;
  return `${shown(input)} is a ${typeof input === "string" ? "text" : typeof input}`;
}

/** Not more than a few characters of what stands there: it can be anything. */
function shown(input: unknown): string {
  const text = typeof input === "string" ? JSON.stringify(input) : String(input);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

function pathText(path: readonly PropertyKey[]): string {
  const text = path.reduce<string>(
    (all, part) =>
      typeof part === "number" ? `${all}[${part}]` : all === "" ? String(part) : `${all}.${String(part)}`,
    "",
  );
  return text === "" ? "(the whole definition)" : text;
}
