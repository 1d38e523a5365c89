import { describe, expect, it } from "vitest";
import { featureNames, featurePart, isLearning } from "./definition.ts";
import { shop } from "./testing/shop.ts";

describe("featureNames", () => {
  it("names each value in model order: a feature that gives several has a number behind its name", () => {
    expect(featureNames(shop)).toEqual([
      "amount",
      "hour",
      "mean_24h",
      "merchants_7d",
      "top_channel_1",
      "top_channel_2",
      "p95",
      "charged_back_30d",
      "rate",
      "ratio",
      "gift",
    ]);
  });
});

describe("featurePart", () => {
  it("is what vectors and examples depend on, and nothing else", () => {
    const part = JSON.stringify(featurePart(shop));
    const { title, recipes, retrain, drift, gates, partitions, limits, serve, rollout, vectors, ...rest } =
      shop;
    const served = { serve: { ...serve, latencyMs: 1 }, rollout: { ...rollout, strategy: "ab" as const } };
    const other = {
      title: "Another",
      recipes: [],
      retrain,
      drift,
      gates,
      partitions: 1,
      limits,
      ...served,
      ...rest,
    };
    expect([title, recipes.length, partitions]).toEqual(["Which payments are charged back?", 1, 4]);
    expect(JSON.stringify(featurePart({ ...other, vectors: { ...vectors, format: "binary" } }))).toBe(part);
    expect(JSON.stringify(featurePart({ ...shop, vectors: { ...vectors, decimals: 3 } }))).not.toBe(part);
    expect(JSON.stringify(featurePart({ ...shop, features: shop.features.slice(1) }))).not.toBe(part);
    expect(JSON.stringify(featurePart({ ...shop, label: null }))).not.toBe(part);
  });
});

describe("isLearning", () => {
  it("is a line with a label", () => {
    expect(isLearning(shop)).toBe(true);
    expect(isLearning({ ...shop, label: null })).toBe(false);
  });
});
