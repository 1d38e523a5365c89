import fc from "fast-check";
import { expect, it } from "vitest";
import { crc32c } from "./crc32c.ts";

/** Bit by bit, as the polynomial says. */
function naive(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

it("gives the values of RFC 3720, B.4", () => {
  const of = (bytes: readonly number[]): number => crc32c(Buffer.from(bytes), 0, bytes.length);
  const zeros = new Array<number>(32).fill(0);
  expect(of(zeros)).toBe(0x8a9136aa);
  expect(of(zeros.map(() => 0xff))).toBe(0x62a8ab43);
  expect(of(zeros.map((_, i) => i))).toBe(0x46dd794e);
  expect(of(zeros.map((_, i) => 31 - i))).toBe(0x113fdb5c);
});

it("agrees with the division bit by bit, on any part of any bytes", () => {
  const parts = fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.nat(20), fc.nat(20));
  fc.assert(
    fc.property(parts, ([bytes, skipped, left]) => {
      const to = Math.max(skipped, bytes.length - left);
      const whole = Buffer.concat([bytes, new Uint8Array(20)]);
      expect(crc32c(whole, skipped, to)).toBe(naive(whole.subarray(skipped, to)));
    }),
  );
});
