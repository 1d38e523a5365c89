import fc from "fast-check";
import { expect, it } from "vitest";
import { ProtocolError } from "./byte-reader.ts";
import { Frames } from "./frames.ts";

const framed = (frame: Uint8Array): Buffer => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(frame.length);
  return Buffer.concat([length, frame]);
};

it("puts frames together from any pieces, read into its room or elsewhere", () => {
  const sizes = fc.array(fc.nat(2_000), { minLength: 1, maxLength: 8 });
  const frames = fc.array(fc.uint8Array({ minLength: 4, maxLength: 3_000 }), { maxLength: 6 });
  fc.assert(
    fc.property(frames, sizes, fc.boolean(), (sent, pieces, intoRoom) => {
      const received: Buffer[] = [];
      const assembler = new Frames((frame) => received.push(frame));
      const bytes = Buffer.concat(sent.map(framed));
      for (let at = 0, piece = 0; at < bytes.length; piece++) {
        const wanted = 1 + (pieces[piece % pieces.length] as number);
        if (intoRoom) {
          const copied = bytes.copy(assembler.room(), 0, at, at + wanted);
          assembler.arrived(copied);
          at += copied;
        } else {
          assembler.take(bytes.subarray(at, at + wanted));
          at += wanted;
        }
      }
      expect(received.map((frame) => frame.toString("hex"))).toEqual(
        sent.map((frame) => Buffer.from(frame).toString("hex")),
      );
    }),
  );
});

it("refuses a length that no broker sends before it takes the memory", () => {
  const frames = new Frames(() => {});
  expect(() => frames.take(Buffer.from("HTTP/1.1 400 Bad Request"))).toThrow(ProtocolError);
  expect(() => new Frames(() => {}).take(Buffer.from([0xff, 0xff, 0xff, 0xff]))).toThrow(
    "is that port Kafka's",
  );
});
