import { Computation } from "@millrace/computation";
import { createEventRow, fillRow, Watermark } from "@millrace/events";
import { featureNames, type LineDefinition } from "@millrace/lines";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AnswerOptions, answerQuestions, type LateQuestions } from "./answer-questions.ts";
import type { Questions } from "./questions.ts";
import { memoryScan } from "./testing/memory-scan.ts";
import {
  type Asked,
  anyDrafts,
  anyLog,
  archivedRow,
  type Event,
  naiveVector,
  paymentsLine,
  placed,
  START_MS,
} from "./testing/payments.ts";

/** So many events would be replayed in ten groups of keys. */
const MANY_ROWS = 1_500_000;
const FILE_EVENTS = 16;

const lines = [
  paymentsLine("category", false),
  paymentsLine("integer", false),
  paymentsLine("category", true),
];
const anyLine = fc.constantFrom(...lines);

function toQuestions(line: LineDefinition, asked: readonly Omit<Asked, "itself">[]): Questions {
  const isText = line.streams["payments"]?.fields["account"]?.type === "category";
  const accounts = asked.map(({ account }) => account);
  const numbers = (of: (one: Omit<Asked, "itself">) => number | null): Float64Array =>
    Float64Array.from(asked, (one) => of(one) ?? Number.NaN);
  return {
    times: numbers(({ time }) => time),
    knownAt: null,
    fields: {
      account: isText
        ? accounts.map((account) => (account === null ? null : String(account)))
        : numbers(({ account }) => account),
      merchant: asked.map(({ merchant }) => merchant),
      amount: numbers(({ amount }) => amount),
    },
  };
}

async function answers(
  line: LineDefinition,
  log: readonly Event[],
  questions: Questions,
  options: AnswerOptions,
  rows = log.length,
): Promise<{ vectors: (number | null)[][]; late: LateQuestions }> {
  const files: Record<string, ReturnType<typeof archivedRow>[]> = {};
  for (const event of log) (files[Math.floor(event.offset / FILE_EVENTS)] ??= []).push(archivedRow(event));
  const width = featureNames(line).length;
  const values = new Float64Array(questions.times.length * width).fill(Number.NaN);
  const late = await answerQuestions(
    {
      line,
      files: Object.keys(files),
      rows,
      questions: { ...questions, rows: Int32Array.from(questions.times.keys()) },
      options,
      values,
    },
    { scan: memoryScan(files), onEvents: () => {}, signal: new AbortController().signal },
  );
  const vectors = Array.from(questions.times, (_, i) =>
    Array.from(values.subarray(i * width, (i + 1) * width), (value) => (Number.isNaN(value) ? null : value)),
  );
  return { vectors, late };
}

describe("by event time", () => {
  it("a question sees the events up to its time, of those accepted in time, as the naive definition has it (A1)", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyLine,
        anyLog,
        anyDrafts,
        fc.constantFrom("read" as const, "readByKey" as const),
        fc.option(fc.integer({ min: 0, max: 60_000 })),
        async (line, log, drafts, counted, knownAfterMs) => {
          const asked = placed(log, drafts);
          const knownAtMs = knownAfterMs === null ? null : START_MS + 1_000_000 + knownAfterMs;
          const options = { order: "event-time", knownAtMs, counted } as const;
          const { vectors, late } = await answers(line, log, toQuestions(line, asked), options);
          expect(late.count).toBe(0);
          asked.forEach((question, i) => {
            const seen = log.filter(({ time, acceptedAt }) => {
              return time <= question.time && acceptedAt <= (knownAtMs ?? Number.POSITIVE_INFINITY);
            });
            expect(vectors[i]).toEqual(naiveVector(line, seen, { ...question, itself: counted === "read" }));
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it("gives the same bits in however many groups of keys (A2)", async () => {
    await fc.assert(
      fc.asyncProperty(anyLine, anyLog, anyDrafts, async (line, log, drafts) => {
        const questions = toQuestions(line, placed(log, drafts));
        const options = { order: "event-time", knownAtMs: null, counted: "read" } as const;
        const one = await answers(line, log, questions, options);
        expect(await answers(line, log, questions, options, MANY_ROWS)).toEqual(one);
      }),
      { numRuns: 150 },
    );
  });
});

describe("in order of acceptance", () => {
  const acceptance = { order: "acceptance", knownAtMs: null, counted: "read" } as const;

  it("a question sees what was accepted by then, and nothing of a later pane (A1)", async () => {
    await fc.assert(
      fc.asyncProperty(anyLine, anyLog, anyDrafts, async (line, log, drafts) => {
        const asked = placed(log, drafts);
        const knownAt = Float64Array.from(asked, (one) => one.knownAt);
        const questions = { ...toQuestions(line, asked), knownAt };
        const { vectors, late } = await answers(line, log, questions, acceptance);
        let lateCount = 0;
        asked.forEach((question, i) => {
          const seen = log.filter(({ acceptedAt }) => acceptedAt <= (knownAt[i] as number));
          const watermark = new Watermark(30_000);
          for (const { stream, time } of seen) if (stream === "payments") watermark.observe(time);
          if (watermark.isLate(question.time)) lateCount++;
          else expect(vectors[i]).toEqual(naiveVector(line, seen, { ...question, itself: true }));
        });
        expect(late.count).toBe(lateCount);
      }),
      { numRuns: 300 },
    );
  });

  it("answers each event as the stream did when it was asked just before (A3)", async () => {
    await fc.assert(
      fc.asyncProperty(anyLine, anyLog, async (line, drafts) => {
        // One event a ms: so a question can be asked between two of them.
        const log = drafts.map((event, i) => ({
          ...event,
          account: event.account ?? 0,
          acceptedAt: START_MS + 1_000_000 + i,
        }));
        const payments = log.filter(({ stream }) => stream === "payments");
        const knownAt = Float64Array.from(payments, ({ acceptedAt }) => acceptedAt - 1);
        const { vectors, late } = await answers(
          line,
          log,
          { ...toQuestions(line, payments), knownAt },
          acceptance,
        );
        expect(late.count).toBe(0);
        expect(vectors).toEqual(streamVectors(line, log));
      }),
      { numRuns: 150 },
    );
  });

  it("counts the questions that are later than their stream takes events", async () => {
    const [line] = lines as [LineDefinition];
    const log = Array.from({ length: 20 }, (_, offset): Event => {
      const time = START_MS + offset * 5_000;
      return { stream: "payments", offset, time, acceptedAt: time, account: 1, merchant: null, amount: 100 };
    });
    const asked = [95_000, 30_000, 29_999].map((ms) => ({ ...(log[0] as Event), time: START_MS + ms }));
    const questions = { ...toQuestions(line, asked), knownAt: new Float64Array(3).fill(START_MS + 95_000) };
    const { late, vectors } = await answers(line, log, questions, acceptance);
    // The 8th newest event is of 60 s, and payments may be 30 s late.
    expect(late).toEqual({ count: 1, first: 2 });
    expect(vectors[1]?.[0]).toBe(8);
    expect(vectors[2]?.[0]).toBeNull();
  });
});

it("ends with the signal's reason", async () => {
  const [line] = lines as [LineDefinition];
  const log: Event[] = [
    { stream: "payments", offset: 0, time: START_MS, acceptedAt: 0, account: 1, merchant: null, amount: 1 },
  ];
  const questions = toQuestions(line, log);
  const job = {
    line,
    files: ["0"],
    rows: 1,
    questions: { ...questions, rows: Int32Array.of(0) },
    options: { order: "event-time", knownAtMs: null, counted: "read" },
    values: new Float64Array(20),
  } as const;
  const ports = { scan: memoryScan({ 0: log.map(archivedRow) }), onEvents: () => {} };
  await expect(answerQuestions(job, { ...ports, signal: AbortSignal.abort("enough") })).rejects.toBe(
    "enough",
  );
});

function streamVectors(line: LineDefinition, log: readonly Event[]): (number | null)[][] {
  const computation = new Computation(line, "", null);
  const vectors: (number | null)[][] = [];
  const sink = {
    vector: (_id: unknown, _time: number, values: Float64Array) => {
      vectors.push(Array.from(values, (value) => (Number.isNaN(value) ? null : value)));
    },
    example: () => {},
  };
  const rows = new Map(
    Object.entries(line.streams).map(([name, stream]) => [name, createEventRow(name, stream)]),
  );
  for (const { stream, time, acceptedAt, account, merchant, amount, offset } of log) {
    const row = rows.get(stream) as ReturnType<typeof createEventRow>;
    const definition = line.streams[stream] as LineDefinition["streams"][string];
    const isText = definition.fields["account"]?.type === "category";
    const data = {
      id: `e${offset}`,
      at: time,
      account: account !== null && isText ? String(account) : account,
      merchant,
      amount: amount === null ? null : amount / 100,
    };
    fillRow(row, Object.entries(definition.fields), data, time, acceptedAt);
    computation.take(row, sink);
  }
  return vectors;
}
