/**
 * JSON with object keys in a stable order (sorted), so that equal values have equal text and equal digests.
 * Key order that carries meaning must be kept in arrays. Rejects nothing: the caller passes JSON values only.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
