import { describe, expect, it } from "vitest";
import { copyInPieces } from "./copy-in-pieces.ts";

describe("copyInPieces", () => {
  it("copies a view alone, whatever its size", async () => {
    const buffer = Uint8Array.from({ length: 3 * 2 ** 20 + 10 }, (_, i) => i % 251);
    for (const length of [0, 1, 2 ** 20, 3 * 2 ** 20 + 1]) {
      const bytes = buffer.subarray(7, 7 + length);
      const copy = await copyInPieces(bytes);
      expect(Buffer.compare(copy, bytes)).toBe(0);
      expect(copy.buffer.byteLength).toBe(length);
    }
  });

  it("lets others have their turn between two pieces", async () => {
    let turns = 0;
    const copying = copyInPieces(new Uint8Array(3 * 2 ** 20));
    setImmediate(() => setImmediate(() => (turns += 1)));
    await copying;
    expect(turns).toBe(1);
  });
});
