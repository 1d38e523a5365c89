import {
  type Datatype,
  formatInferBody,
  type InferRequest,
  type InferResponse,
  type Parameter,
  parseInferBody,
  type Tensor,
} from "@millrace/open-inference";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inferBody, inferResponse } from "./rest-tensors.ts";

const text = fc.string({ unit: "grapheme", maxLength: 8 });
const parameters: fc.Arbitrary<ReadonlyMap<string, Parameter>> = fc
  .dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.oneof(text, fc.boolean(), fc.constant(0.5)))
  .map((all) => new Map(Object.entries(all)));
const tensors: fc.Arbitrary<readonly Tensor[]> = fc.uniqueArray(
  fc
    .oneof(
      fc.float32Array().map((data) => ({ datatype: "FP32" as Datatype, shape: [data.length], data })),
      fc.bigInt64Array().map((data) => ({ datatype: "INT64" as Datatype, shape: [1, data.length], data })),
      fc
        .array(fc.uint8Array(), { maxLength: 4 })
        .map((data) => ({ datatype: "BYTES" as Datatype, shape: [data.length], data })),
    )
    .chain((tensor) => text.map((name) => ({ name, ...tensor }))),
  { selector: ({ name }) => name, maxLength: 4 },
);

describe("bodies of infer", () => {
  it("are read by the server's codec as they were meant, 64-bit parameters too", () => {
    fc.assert(
      fc.property(
        text,
        parameters,
        tensors,
        fc.bigInt(-(2n ** 53n) + 1n, 2n ** 53n - 1n),
        (id, own, inputs, whole) => {
          const request: InferRequest = {
            modelName: "m",
            modelVersion: "1",
            id,
            parameters: new Map([...own, ["timeout", whole]]),
            inputs,
            outputs: [{ name: "b", parameters: new Map() }],
            raw: inputs.length > 0,
          };
          const { bytes, headerLength } = inferBody(request);
          const parsed = parseInferBody(bytes, {
            modelName: "m",
            modelVersion: "1",
            headerLength,
            inputs: [],
          });
          expect(parsed.request).toEqual(request);
          expect(parsed.binary.byDefault).toBe(true);
        },
      ),
    );
  });

  it("are read as the server's codec writes them", () => {
    fc.assert(
      fc.property(text, parameters, tensors, (id, own, outputs) => {
        const response: InferResponse = { modelName: "m", modelVersion: "1", id, parameters: own, outputs };
        const { body, headerLength } = formatInferBody(response, { byDefault: true, byName: new Map() });
        const read = inferResponse(
          new Uint8Array(Buffer.concat(body)),
          headerLength === null ? null : String(headerLength),
        );
        expect(read).toEqual(response);
      }),
    );
  });

  it("refuse a whole number that JSON does not carry exactly", () => {
    const request = { modelName: "m", modelVersion: "", id: "", inputs: [], outputs: [], raw: true };
    const parameters = new Map([["n", 2n ** 53n]]);
    expect(() => inferBody({ ...request, parameters })).toThrow(/parameters\.n: 9007199254740992/);
  });
});
