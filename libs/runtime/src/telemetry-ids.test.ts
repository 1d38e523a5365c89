import { describe, expect, it } from "vitest";
import { currentTraceparent, startTelemetry, withSpan } from "./index.ts";

// A file of its own: OpenTelemetry registers once per process.
describe("telemetry without an endpoint", () => {
  it("still gives spans ids that can travel", async () => {
    const telemetry = startTelemetry("quiet", undefined);
    const [outer, inner] = await withSpan("outer", {}, async () => [
      currentTraceparent(),
      await withSpan("inner", {}, async () => currentTraceparent()),
    ]);
    expect(outer).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(outer).not.toContain("0".repeat(32));
    expect(inner?.slice(0, 35)).toBe(outer?.slice(0, 35));
    expect(currentTraceparent()).toBe("");
    await telemetry.stop();
  });
});
