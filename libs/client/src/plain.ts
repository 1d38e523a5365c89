/** A protobuf message as a plain object: 64-bit integers are numbers, and what protobuf notes of itself is left out. */
export type Plain<T> = T extends bigint
  ? number
  : T extends string | number | boolean | undefined | null | Uint8Array
    ? T
    : T extends readonly (infer Element)[]
      ? readonly Plain<Element>[]
      : { readonly [K in keyof T as K extends `$${string}` ? never : K]: Plain<T[K]> };

/** Counts, versions and times of the mesh are all safe integers; a greater one loses its last digits. */
export function plain<T>(value: T): Plain<T> {
  return plainValue(value) as Plain<T>;
}

function plainValue(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !name.startsWith("$"))
      .map(([name, inner]) => [name, plainValue(inner)]),
  );
}
