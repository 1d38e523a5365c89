import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { serverSentEvents } from "./server-sent-events.ts";

/** A body that comes in the given pieces. */
function bodyOf(pieces: readonly Uint8Array[], onCancel = (): void => {}): ReadableStream<Uint8Array> {
  const rest = [...pieces];
  return new ReadableStream({
    pull: (controller) => {
      const piece = rest.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
    cancel: onCancel,
  });
}

const events = (text: string, cuts: readonly number[] = []): Promise<string[]> => {
  const bytes = new TextEncoder().encode(text);
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return listOf(serverSentEvents(bodyOf(ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)))));
};

async function listOf<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

describe("serverSentEvents", () => {
  it("reads data fields and leaves everything else out", async () => {
    const text =
      ': hello\nevent: x\nid: 7\ndata: {"a":1}\n\ndata:{"b":2}\n\n\ndatum: no\n\ndata\n\ndata: cut off';
    expect(await events(text)).toEqual(['{"a":1}', '{"b":2}', ""]);
  });

  it("joins the lines of one event", async () => {
    expect(await events("data: a\ndata:  b\n\n")).toEqual(["a\n b"]);
  });

  it("gives the same events however lines end and the body is cut", async () => {
    const line = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => !/[\r\n\uFEFF]/.test(text));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 5 }),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.array(fc.nat(500), { maxLength: 12 }),
        async (sent, end, cuts) => {
          const text = sent.map((lines) => lines.map((one) => `data: ${one}${end}`).join("") + end).join("");
          // The last CR may be half of a CRLF until something follows.
          const read = await events(`${text}: end${end}`, cuts);
          expect(read).toEqual(sent.map((lines) => lines.join("\n")));
        },
      ),
    );
  });

  it("cancels the body when its reader stops, and gives up on an event without end", async () => {
    let cancelled = 0;
    const body = bodyOf(
      ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"].map((text) => new TextEncoder().encode(text)),
      () => cancelled++,
    );
    for await (const _ of serverSentEvents(body)) break;
    expect(cancelled).toBe(1);
    const endless = Array.from({ length: 40 }, () => new Uint8Array(65_536).fill(97));
    await expect(listOf(serverSentEvents(bodyOf(endless)))).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
    });
  });
});
