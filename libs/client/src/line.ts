import { MillraceError } from "./error.ts";

declare const TYPES: unique symbol;

/**
 * A line as a client sees it, with the types of its events, entities and features. `npx millrace types LINE` writes the
 * module that holds it.
 */
export interface Line<Event extends object, Entity extends object, Features extends object> {
  readonly name: string;
  /** Names of the features in model order. */
  readonly features: readonly string[];
  /** Digest of the definition that the names are of. */
  readonly featureDigest: string;
  /** For the compiler only. */
  readonly [TYPES]?: { readonly event: Event; readonly entity: Entity; readonly features: Features };
}

/** A line with its types. */
export function line<Event extends object, Entity extends object, Features extends object>(
  name: string,
  definition: { readonly features: readonly (keyof Features & string)[]; readonly featureDigest: string },
): Line<Event, Entity, Features> {
  return { name, ...definition };
}

/**
 * The values of all features in model order, FP32, NaN where a value is null. Throws a MillraceError that names a
 * feature which is missing, is no number, or does not exist.
 */
export function featureVector(names: readonly string[], features: object): Float32Array {
  const given = new Map<string, unknown>(Object.entries(features));
  const vector = Float32Array.from(names, (name) => {
    const value = given.get(name);
    if (typeof value === "number") return value;
    if (value === null) return Number.NaN;
    const came = value === undefined ? "missing" : typeof value;
    throw new MillraceError(
      "INVALID_ARGUMENT",
      `features.${name}: ${came}, expected a number, or null: not known`,
    );
  });
  if (given.size === names.length) return vector;
  const unknown = [...given.keys()].find((name) => !names.includes(name));
  throw new MillraceError(
    "INVALID_ARGUMENT",
    `features: no feature ${JSON.stringify(unknown)}; the line has ${names.join(", ")}`,
  );
}

/**
 * Throws a FAILED_PRECONDITION where the features that the server spoke of are not those that the line's types were made
 * of: their order may differ, and a score or a value mean nothing.
 */
export function checkFeatureDigest(
  { name, featureDigest }: Pick<Line<never, never, never>, "name" | "featureDigest">,
  served: string,
): void {
  if (served === featureDigest) return;
  throw new MillraceError(
    "FAILED_PRECONDITION",
    `${JSON.stringify(name)} serves features ${served}, its types are of ${featureDigest}: make them again with ` +
      `\`npx millrace types ${name}\`, or name a version that takes them`,
  );
}
