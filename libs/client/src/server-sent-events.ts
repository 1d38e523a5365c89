import { MillraceError } from "./error.ts";
import { received } from "./rest-channel.ts";

/** Characters of one event, so that a server that never ends one does not fill the memory. */
const EVENT_LENGTH_MAX = 1 << 20;

/**
 * The data of each event of a `text/event-stream` body, as it comes (WHATWG HTML, section 9.2.6). Other fields than
 * `data` say nothing here. An event that the body's end cuts off is dropped. Ending the iteration cancels the body.
 */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<string, void, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { value, done } = await received(reader.read());
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      // A CR at the end may be half of a CRLF: it waits for what follows.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const value = /^data(?:$|: ?)(.*)/s.exec(line)?.[1];
        if (value !== undefined) data.push(value);
        if (line !== "" || data.length === 0) continue;
        yield data.join("\n");
        data = [];
      }
      if (rest.length + data.reduce((sum, { length }) => sum + length, 0) > EVENT_LENGTH_MAX) {
        throw new MillraceError("RESOURCE_EXHAUSTED", `an event of more than ${EVENT_LENGTH_MAX} characters`);
      }
    }
  } finally {
    // A body that has failed has failed its reader already.
    await reader.cancel().catch(() => {});
  }
}
