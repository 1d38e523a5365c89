import { ProtocolError } from "@millrace/open-inference";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { generateRequest } from "./request.ts";

const DEFAULTS = {
  maxTokens: 128,
  temperature: 1,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 77,
  stop: [],
};

describe("a request", () => {
  it("needs a text only", () => {
    const expected = { id: "", prompt: "a", options: DEFAULTS, stream: null };
    expect(generateRequest({ text_input: "a" }, 77)).toEqual(expected);
  });

  it("has parameters inside or beside", () => {
    const body = {
      id: "7",
      text_input: "a",
      temperature: 0,
      parameters: { max_tokens: 5, stop: "x", stream: true, seed: 0, top_p: 0.5, top_k: 9 },
      repetition_penalty: 1.2,
    };
    const options = {
      maxTokens: 5,
      temperature: 0,
      topK: 9,
      topP: 0.5,
      repetitionPenalty: 1.2,
      seed: 0,
      stop: ["x"],
    };
    expect(generateRequest(body, 77)).toEqual({ id: "7", prompt: "a", options, stream: true });
  });

  it.each<[unknown, string]>([
    [null, "body: null, expected a JSON object"],
    [[], "body: a list, expected a JSON object"],
    [{}, "text_input: missing, expected a text"],
    [{ text_input: 7 }, "text_input: number, expected a text"],
    [{ text_input: "a", parameters: "b" }, "parameters: string, expected a JSON object"],
    [
      { text_input: "a", max_token: 3 },
      '"max_token": unknown, expected one of text_input, id, parameters, max_tokens',
    ],
    [{ text_input: "a", parameters: { id: "b" } }, 'parameters."id": unknown, expected one of max_tokens'],
    [{ text_input: "a", parameters: { __proto__x: 1 } }, 'parameters."__proto__x": unknown'],
    [
      { text_input: "a", top_k: 1, parameters: { top_k: 1 } },
      "top_k: stands in the body and in its parameters",
    ],
    [{ text_input: "a", max_tokens: 0 }, "max_tokens: 0, expected a whole number from 1 to 65536"],
    [{ text_input: "a", max_tokens: 1.5 }, "max_tokens: 1.5, expected a whole number"],
    [
      { text_input: "a", parameters: { top_p: "1" } },
      "parameters.top_p: string, expected a number from 0 to 1",
    ],
    [{ text_input: "a", temperature: -1 }, "temperature: -1, expected a number from 0 to 100"],
    [{ text_input: "a", seed: 2 ** 53 }, "seed: 9007199254740992, expected a whole number"],
    [{ text_input: "a", stream: "no" }, "stream: string, expected true or false"],
    [{ text_input: "a", stop: 3 }, "stop: number, expected a text or a list of texts"],
    [{ text_input: "a", stop: ["b", null] }, "stop[1]: null, expected a text"],
    [{ text_input: "a", parameters: { stop: [""] } }, "parameters.stop[0]: an empty text"],
    [{ text_input: "a", stop: new Array(17).fill("b") }, "stop: 17 texts, expected at most 16"],
    [{ text_input: "a", stop: "b".repeat(257) }, "stop[0]: 257 characters, expected at most 256"],
    [{ text_input: "a", id: "b".repeat(257) }, "id: 257 characters, expected at most 256"],
  ])("is refused: %j", (body, message) => {
    expect(() => generateRequest(body, 0)).toThrow(ProtocolError);
    expect(() => generateRequest(body, 0)).toThrow(message);
  });

  it("is read or refused with a ProtocolError, whatever comes", () => {
    const names = ["text_input", "parameters", "seed", "stop", "top_k", "constructor", "__proto__"];
    const body = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), fc.jsonValue());
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), body), (value) => {
        try {
          generateRequest(value, 0);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});
