import type { Example, Prediction } from "@millrace/contracts";
import { averageOf, rowLogLoss } from "@millrace/judge";
import { defineLine, type LearningLine } from "@millrace/lines";
import type { StreamRecord } from "@millrace/stream";
import { describe, expect, it } from "vitest";
import { ruling } from "./rollout.ts";
import { createTrialTask, type Trial, type TrialTask } from "./trial.ts";

const HOUR_MS = 3_600_000;
const fields = { id: { type: "text" }, at: { type: "time" }, size: { type: "number" } } as const;
const line = defineLine({
  name: "parcels",
  title: "Late?",
  streams: {
    sent: { topic: "sent", id: "id", time: "at", key: ["id"], fields },
    delivered: { topic: "delivered", id: "id", time: "at", key: ["id"], fields },
  },
  predict: { on: "sent" },
  label: {
    name: "late",
    from: "delivered",
    match: "id",
    positive: { field: "size", above: 1 },
    waitFor: "10h",
  },
  features: { size: { kind: "field", field: "size" } },
  recipes: [{ recipe: "logistic", windows: ["all"] }],
  retrain: {
    firstAfter: 1_000,
    minChange: 500,
    cooldown: "1h",
    staleAfter: "14d",
    maxRunsPerDay: 4,
    learnFrom: "42d",
  },
}) as LearningLine;
const silent: LearningLine = { ...line, label: { ...line.label, silence: "negative" } };
const TRIAL: Trial = { salt: "parcels/7", champion: 2, challenger: 4 };

const record = (topic: string, value: unknown): StreamRecord =>
  ({
    topic: `parcels.${topic}`,
    value: Buffer.from(typeof value === "string" ? value : JSON.stringify(value)),
  }) as unknown as StreamRecord;
const prediction = (i: number, more: Partial<Prediction> = {}): StreamRecord =>
  record("predictions", {
    id: `p${i}`,
    time: i * HOUR_MS,
    version: 2,
    score: 0.4,
    shadows: { 4: 0.2, 3: 0.9 },
    ...more,
  });
const example = (i: number, label: number, more: Partial<Example> = {}): StreamRecord =>
  record("examples", {
    id: `p${i}`,
    time: i * HOUR_MS,
    knownAt: i * HOUR_MS + 1,
    label,
    revision: 0,
    ...more,
  });

const nothing = (): void => {};
const take = (task: TrialTask, ...records: StreamRecord[]): void => void task.process(records, nothing);
const rowsOf = (task: TrialTask, trial = TRIAL): number => task.losses(trial).rows;

describe("a trial", () => {
  it("pairs the losses of both versions on a labelled row, whichever of them answered", () => {
    const task = createTrialTask(line, () => TRIAL, null);
    for (let i = 0; i < 40; i += 2) {
      take(task, prediction(i), example(i, 0));
      const answered = { version: 4, score: 0.2, shadows: { 2: 0.4 } };
      take(task, prediction(i + 1, answered), example(i + 1, 0));
    }
    const difference = rowLogLoss(0.2, 0) - rowLogLoss(0.4, 0);
    expect(rowsOf(task)).toBe(40);
    expect(averageOf(task.losses(TRIAL))).toBeCloseTo(difference, 12);
  });

  it("takes prediction and label in either order, and each row once", () => {
    const task = createTrialTask(line, () => TRIAL, null);
    take(task, example(1, 1), prediction(1), example(1, 1), prediction(2), example(2, 0));
    expect(rowsOf(task)).toBe(2);
  });

  it("leaves out rows that one of the two has not scored, direct calls, corrections and what is no message", () => {
    const task = createTrialTask(line, () => TRIAL, null);
    take(task, prediction(1, { shadows: { 3: 0.9 } }), example(1, 1));
    take(task, prediction(2, { origin: "call" }), example(2, 1));
    take(task, prediction(3), example(3, 1, { revision: 1 }));
    take(task, ...["{", "null", "[]", '{"id":1}'].map((text) => record("predictions", text)));
    expect(rowsOf(task)).toBe(0);
  });

  it("forgets what nobody will match any more", () => {
    const task = createTrialTask(line, () => TRIAL, null);
    take(task, prediction(1), prediction(2), example(90, 1), example(1, 1));
    expect(rowsOf(task)).toBe(0);
    const { scores } = task.snapshot() as { scores: [string, unknown][] };
    expect(scores).toEqual([]);
  });

  it("goes on from its snapshot, as if nothing had happened", () => {
    const records = Array.from({ length: 200 }, (_, i) => [
      prediction(i, { score: (i % 10) / 10 }),
      example(i, i % 2, { knownAt: (i + (i % 7)) * HOUR_MS }),
    ]).flat();
    for (const of of [line, silent]) {
      const whole = createTrialTask(of, () => TRIAL, null);
      take(whole, ...records);
      let resumed = createTrialTask(of, () => TRIAL, null);
      for (let i = 0; i < records.length; i += 33) {
        take(resumed, ...records.slice(i, i + 33));
        resumed = createTrialTask(of, () => TRIAL, JSON.parse(JSON.stringify(resumed.snapshot())));
      }
      expect(rowsOf(whole)).toBeGreaterThan(150);
      expect(resumed.losses(TRIAL)).toEqual(whole.losses(TRIAL));
    }
  });

  it("waits for negatives of the same age where silence means no", () => {
    const task = createTrialTask(silent, () => TRIAL, null);
    take(task, ...[1, 2, 3].map((i) => prediction(i)), example(1, 1), example(2, 1));
    expect(rowsOf(task)).toBe(0);
    take(task, example(3, 0, { knownAt: 13 * HOUR_MS }));
    expect(rowsOf(task)).toBe(3);
  });

  it("begins anew with the next rollout, and knows nothing while there is none", () => {
    let current: Trial | null = null;
    const task = createTrialTask(line, () => current, null);
    take(task, prediction(1), example(1, 1));
    current = TRIAL;
    take(task, prediction(2), example(2, 1));
    expect([rowsOf(task), rowsOf(task, { ...TRIAL, salt: "parcels/9" })]).toEqual([1, 0]);
    current = { salt: "parcels/9", champion: 2, challenger: 3 };
    take(task, prediction(3), example(3, 1));
    expect([rowsOf(task), rowsOf(task, current)]).toEqual([0, 1]);
  });
});

describe("ruling", () => {
  const policy = { ...line.rollout, minLabels: 400, maxLabels: 3_000 };
  const after = (rows: number, challenger: number) => {
    const task = createTrialTask(line, () => TRIAL, null);
    for (let i = 0; i < rows; i++) take(task, prediction(i, { shadows: { 4: challenger } }), example(i, 0));
    return ruling(task.losses(TRIAL), policy);
  };

  it("promotes what is surely better, once there are labels enough", () => {
    expect(after(500, 0.1)).toMatchObject({
      outcome: "promote",
      reason: expect.stringMatching(/is lower by/),
    });
    expect(after(380, 0.1).outcome).toBe("undecided");
  });

  it("rolls back what is surely worse, without waiting", () => {
    expect(after(380, 0.9)).toMatchObject({
      outcome: "rollback",
      reason: expect.stringMatching(/is higher by/),
    });
  });

  it("gives up what is not proven in the end", () => {
    expect(after(2_999, 0.4).outcome).toBe("undecided");
    expect(after(3_000, 0.4)).toMatchObject({
      outcome: "rollback",
      reason: expect.stringMatching(/^not proven by 3000 labels: /),
    });
  });
});
