import { describe, expect, it } from "vitest";
import { partitionOf } from "./index.ts";

describe("partition", () => {
  it("agrees with Kafka's own murmur2 (vectors of UtilsTest.testMurmur2)", () => {
    const java: Record<string, number> = {
      "21": -973932308,
      foobar: -790332482,
      "a-little-bit-long-string": -985981536,
    };
    for (const [key, hash] of Object.entries(java)) {
      expect(partitionOf(key, 0x7fffffff), key).toBe((hash & 0x7fffffff) % 0x7fffffff);
    }
  });
});
