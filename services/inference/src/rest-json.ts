/**
 * A message as the REST form of the protocol writes it: names in snake_case, integers as numbers. Keys of maps stay as
 * they are: those that have them are named here.
 */
export function restJson(message: unknown): unknown {
  if (typeof message === "bigint") return Number(message);
  if (Array.isArray(message)) return message.map(restJson);
  if (message === null || typeof message !== "object") return message;
  return Object.fromEntries(
    Object.entries(message).map(([key, value]) => [
      snakeCase(key),
      MAPS.includes(key) ? mapJson(value as object) : restJson(value),
    ]),
  );
}

const MAPS: readonly string[] = ["properties", "parameters"];

function mapJson(map: object): unknown {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, restJson(value)]));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
