import { describe, expect, it } from "vitest";
import { every, sleep } from "./index.ts";

describe("sleep", () => {
  it("lasts as long as it is told, also longer than a timer can, and ends with its signal", async () => {
    const ending = new AbortController();
    let ended = false;
    const sleeping = sleep(365 * 24 * 3_600_000, ending.signal).then(() => {
      ended = true;
    });
    await sleep(30);
    expect(ended).toBe(false);
    ending.abort();
    await sleeping;
    await sleep(0, ending.signal);
  });
});

describe("every", () => {
  it("does not hurry when its turns are a year apart", async () => {
    const ending = new AbortController();
    let turns = 0;
    const running = every(
      365 * 24 * 3_600_000,
      ending.signal,
      () => void turns++,
      () => {},
    );
    await sleep(30);
    ending.abort();
    await running;
    expect(turns).toBe(1);
  });
});
