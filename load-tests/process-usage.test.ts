import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { usageOf, withDescendants } from "./process-usage.ts";

describe.runIf(process.platform === "linux")("usageOf", () => {
  it("adds up processes with those that descend from them, and is null when they are gone", async () => {
    const child = spawn("sleep", ["60"]);
    await once(child, "spawn");
    const pid = child.pid as number;
    const all = await withDescendants([process.pid]);
    expect(all).toContain(pid);

    const [own, together] = [await usageOf([process.pid]), await usageOf(all)];
    expect(own?.cpuSeconds).toBeGreaterThan(0);
    expect(together?.peakRssMb).toBeGreaterThan(own?.peakRssMb ?? 0);

    child.kill("SIGKILL");
    await once(child, "close");
    expect(await usageOf([pid])).toBeNull();
  });
});
