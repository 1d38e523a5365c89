import type { DriftReport, Example, LiveQuality, Prediction } from "@millrace/contracts";
import flights from "@millrace/line-flights";
import type { LearningLine } from "@millrace/lines";
import type { StreamRecord } from "@millrace/stream";
import { memoryRecord } from "@millrace/testkit";
import { describe, expect, it } from "vitest";
import { createWatchTask, type WatchTask } from "./watch.ts";

const line = flights as LearningLine;

function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const record = (
  kind: "predictions" | "examples",
  value: Prediction | Example,
  offset: number,
): StreamRecord => memoryRecord({ topic: `flights.${kind}`, offset, value: JSON.stringify(value) });

/** Feeds `rows` matured predictions of one version; after row `changeAt` short flights are late far more often. */
async function feed(
  task: WatchTask,
  version: number,
  rows: number,
  changeAt: number,
  seed: number,
  change: Partial<Prediction> = {},
): Promise<DriftReport[]> {
  const next = random(seed);
  const reports: DriftReport[] = [];
  for (let i = 0; i < rows; i++) {
    const time = i * 5_000;
    const values = flights.features.map(() => next());
    const id = `v${version}-${i}`;
    const short = (values[2] as number) < 0.5;
    const truth = i < changeAt ? 0.3 : short ? 0.9 : 0.1;
    const label = next() < truth ? 1 : 0;
    const shadows = version > 2 ? { "2": 0.5 } : {};
    const prediction = {
      id,
      time,
      score: 0.3,
      version,
      model: "m",
      features: "f",
      shadows,
      predictedAtMs: 0,
      ...change,
    };
    const example: Example = {
      id,
      time,
      knownAt: time + 1_000,
      label,
      values,
      features: "f",
      revision: 0,
      labelled: "event",
      vectorAcceptedAtMs: time,
      labelAcceptedAtMs: time + 1_000,
    };
    const pair = [record("predictions", prediction, i), record("examples", example, i)];
    await task.process(i % 2 === 0 ? pair : pair.reverse(), (_cause, topic, { value }) => {
      expect(topic).toBe("flights.drift");
      reports.push(JSON.parse(String(value)));
    });
  }
  return reports;
}

const quality = (task: WatchTask): { window: LiveQuality; byVersion: Record<string, LiveQuality> } =>
  task.details()["quality"] as never;

describe("watch", () => {
  it("is quiet while predictions hold, and reports harm with its start once they do not", async () => {
    const task = createWatchTask(line, null);
    expect(await feed(task, 2, 6_000, Number.POSITIVE_INFINITY, 1)).toEqual([]);
    const [report] = await feed(task, 3, 8_000, 5_000, 2);
    expect(report).toMatchObject({ line: "flights", kind: "harm", version: 3 });
    expect(report?.time).toBeGreaterThan(5_000 * 5_000);
    expect(report?.time).toBeLessThan(6_000 * 5_000);
    expect(Math.abs((report?.changeTime ?? 0) - 5_000 * 5_000)).toBeLessThan(500 * 5_000);
  });

  it("never reports on the baseline", async () => {
    expect(await feed(createWatchTask(line, null), 1, 4_000, 0, 3)).toEqual([]);
  });

  it("counts every matured prediction once, and compares with the first model", async () => {
    const task = createWatchTask(line, null);
    await feed(task, 2, 1_500, Number.POSITIVE_INFINITY, 4);
    await feed(task, 3, 1_000, Number.POSITIVE_INFINITY, 5);
    expect(task.counts()["watched"]).toBe(2_500);
    const { byVersion, window } = quality(task);
    expect(window.rows).toBe(2_500);
    expect(byVersion["2"]?.first?.logLoss).toBe(byVersion["2"]?.serving.logLoss);
    expect(byVersion["3"]?.first?.brier).toBeCloseTo(0.25, 5);
    expect(byVersion["3"]?.serving.brier).toBeLessThan(0.25);
  });

  it("goes on from a snapshot as if nothing had happened", async () => {
    const whole = createWatchTask(line, null);
    await feed(whole, 2, 2_000, Number.POSITIVE_INFINITY, 6);
    const restored = createWatchTask(line, structuredClone(whole.snapshot()));
    const [a, b] = [await feed(whole, 3, 3_000, 1_500, 7), await feed(restored, 3, 3_000, 1_500, 7)];
    expect(b).toEqual(a);
    expect(restored.counts()).toEqual(whole.counts());
    expect(quality(restored)).toEqual(quality(whole));
  });

  it("does not take early positives for harm where silence means no", async () => {
    const silent: LearningLine = { ...line, label: { ...line.label, silence: "negative", waitFor: "1h" } };
    const task = createWatchTask(silent, null);
    const next = random(5);
    const reports: unknown[] = [];
    const examples: { at: number; record: StreamRecord }[] = [];
    let offset = 0;
    for (let i = 0; i < 12_000; i++) {
      const time = i * 5_000;
      const id = `s-${i}`;
      const values = flights.features.map(() => next());
      const prediction: Prediction = {
        id,
        time,
        score: 0.3,
        version: 2,
        model: "m",
        features: "f",
        shadows: {},
        predictedAtMs: 0,
      };
      const late = next() < 0.3;
      const knownAt = time + (late ? 60_000 : 3_600_000);
      const example: Example = {
        id,
        time,
        knownAt,
        label: late ? 1 : 0,
        values,
        features: "f",
        revision: 0,
        labelled: late ? "event" : "silence",
        vectorAcceptedAtMs: time,
        labelAcceptedAtMs: knownAt,
      };
      examples.push({ at: knownAt, record: record("examples", example, offset++) });
      await task.process([record("predictions", prediction, i)], () => {});
    }
    for (const one of examples.sort((a, b) => a.at - b.at)) {
      await task.process([one.record], () => void reports.push(one));
    }
    expect(reports).toEqual([]);
    expect(task.counts()["watched"]).toBeGreaterThan(11_000);
  });

  it("weighs the champion on the stream only: neither challengers nor answers to direct calls", async () => {
    for (const change of [{ origin: "call" }, { arm: "challenger" }] as const) {
      const task = createWatchTask(line, null);
      expect(await feed(task, 1, 4_000, 0, 3, change)).toEqual([]);
      expect(task.counts()["watched"]).toBe(0);
    }
    const task = createWatchTask(line, null);
    await feed(task, 1, 100, 0, 3, { origin: "stream", arm: "champion" });
    expect(task.counts()["watched"]).toBe(100);
  });
});
