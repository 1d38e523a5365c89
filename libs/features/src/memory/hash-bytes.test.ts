import { expect, it } from "vitest";
import { hashBytes } from "./hash-bytes.ts";

const utf8 = new TextEncoder();

it.each([
  ["", 0, 0],
  ["", 1, 0x514e_28b7],
  ["a", 0, 0x3c25_69b2],
  ["abc", 0, 0xb3dd_93fa],
  ["test", 0, 0xba6b_d213],
  ["hello, world", 0, 0x149b_bb7f],
  ["The quick brown fox jumps over the lazy dog", 0x9747_b28c, 0x2fa8_26cd],
])("is Murmur3 of %j with seed %i", (text, seed, hash) => {
  const bytes = utf8.encode(`..${text}.`);
  expect(hashBytes(bytes, 2, bytes.length - 1, seed) >>> 0).toBe(hash);
});
