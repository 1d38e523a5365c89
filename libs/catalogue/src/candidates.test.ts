import { describe, expect, it } from "vitest";
import { candidatesOf } from "./candidates.ts";

const config = { trees: 100 };

describe("candidatesOf", () => {
  it("keeps the order of recipes and windows, and passes the configuration on", () => {
    expect(
      candidatesOf(
        [
          { recipe: "lightgbm", windows: ["all", "since-change"], config },
          { recipe: "logistic", windows: ["all"] },
        ],
        1_000,
      ),
    ).toEqual([
      { name: "lightgbm/all", recipe: "lightgbm", window: "all", config },
      { name: "lightgbm/since-change", recipe: "lightgbm", window: "since-change", config },
      { name: "logistic/all", recipe: "logistic", window: "all", config: {} },
    ]);
  });

  it("leaves since-change out while no change is known; 0 is a known time", () => {
    const recipes = [
      { recipe: "lightgbm", windows: ["since-change", "all"] },
      { recipe: "logistic", windows: ["since-change"] },
    ] as const;
    expect(candidatesOf(recipes, null).map((c) => c.name)).toEqual(["lightgbm/all"]);
    expect(candidatesOf(recipes, 0).length).toBe(3);
  });

  it("gives every candidate its own name", () => {
    const recipes = [
      { recipe: "lightgbm", windows: ["all", "all"] },
      { recipe: "lightgbm", windows: ["all"], config },
    ] as const;
    expect(candidatesOf(recipes, null).map((c) => c.name)).toEqual(["lightgbm/all", "lightgbm-2/all"]);
  });
});
