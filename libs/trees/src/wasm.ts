/**
 * Writes WebAssembly modules: as much of the binary format as one numeric kernel needs, by the WebAssembly Core
 * Specification 2.0, chapter 5. Instructions are written as the text format's folded expressions:
 * `i32.add(get(x), i32.const(4))` is `(i32.add (local.get $x) (i32.const 4))`.
 */

/** Instructions in their binary form. */
export type Code = readonly number[];

/** A local variable of a function, by its position; parameters come first. */
export type Local = number;

export const i32: {
  const(value: number): Code;
  load(address: Code, offset?: number): Code;
  load16(address: Code, offset?: number): Code;
  add(a: Code, b: Code): Code;
  mul(a: Code, b: Code): Code;
  or(a: Code, b: Code): Code;
  shl(a: Code, bits: Code): Code;
  greater(a: Code, b: Code): Code;
  lessUnsigned(a: Code, b: Code): Code;
} = {
  const: (value) => [0x41, ...signed(value)],
  load: (address, offset = 0) => [...address, 0x28, 0, ...unsigned(offset)],
  load16: (address, offset = 0) => [...address, 0x2f, 0, ...unsigned(offset)],
  add: (a, b) => [...a, ...b, 0x6a],
  mul: (a, b) => [...a, ...b, 0x6c],
  or: (a, b) => [...a, ...b, 0x72],
  shl: (a, bits) => [...a, ...bits, 0x74],
  greater: (a, b) => [...a, ...b, 0x4a],
  lessUnsigned: (a, b) => [...a, ...b, 0x49],
};

export const f32: {
  load(address: Code, offset?: number): Code;
  store(address: Code, value: Code, offset?: number): Code;
  add(a: Code, b: Code): Code;
  min(a: Code, b: Code): Code;
  max(a: Code, b: Code): Code;
} = {
  load: (address, offset = 0) => [...address, 0x2a, 0, ...unsigned(offset)],
  store: (address, value, offset = 0) => [...address, ...value, 0x38, 0, ...unsigned(offset)],
  add: (a, b) => [...a, ...b, 0x92],
  min: (a, b) => [...a, ...b, 0x96],
  max: (a, b) => [...a, ...b, 0x97],
};

/** Four numbers of 32 bits. */
export const v128: {
  load(address: Code): Code;
  store(address: Code, value: Code, offset?: number): Code;
  /** The same number four times. */
  splat(value: Code): Code;
  addFloats(a: Code, b: Code): Code;
  equalFloats(a: Code, b: Code): Code;
  xor(a: Code, b: Code): Code;
  shiftSigned(a: Code, bits: Code): Code;
  shiftUnsigned(a: Code, bits: Code): Code;
  /** Bits of `a` where `mask` has ones, else those of `b`. */
  select(a: Code, b: Code, mask: Code): Code;
} = {
  load: (address) => [...address, 0xfd, 0x00, 0, 0],
  store: (address, value, offset = 0) => [...address, ...value, 0xfd, 0x0b, 0, ...unsigned(offset)],
  splat: (value) => [...value, 0xfd, 0x11],
  addFloats: (a, b) => [...a, ...b, 0xfd, 0xe4, 0x01],
  equalFloats: (a, b) => [...a, ...b, 0xfd, 0x41],
  xor: (a, b) => [...a, ...b, 0xfd, 0x51],
  shiftSigned: (a, bits) => [...a, ...bits, 0xfd, 0xac, 0x01],
  shiftUnsigned: (a, bits) => [...a, ...bits, 0xfd, 0xad, 0x01],
  select: (a, b, mask) => [...a, ...b, ...mask, 0xfd, 0x52],
};

export const get = (local: Local): Code => [0x20, ...unsigned(local)];
export const set = (local: Local, value: Code): Code => [...value, 0x21, ...unsigned(local)];
/** Sets a local and leaves its value. */
export const tee = (local: Local, value: Code): Code => [...value, 0x22, ...unsigned(local)];

/** Runs the body, and again as long as `condition` is not zero after it. */
export const repeatWhile = (body: readonly Code[], condition: Code): Code => [
  0x03, // loop
  VOID,
  ...body.flat(),
  ...condition,
  0x0d, // br_if
  0,
  END,
];

/** How many variables of each type a function has. */
export interface Locals {
  readonly i32: number;
  /** They come after the i32. */
  readonly v128: number;
}

/**
 * A module with one function of i32 parameters and no results, exported as `run`, and one memory of exactly `pages`
 * times 64 KiB, exported as `memory`. `locals` are the function's variables besides the parameters.
 */
export function moduleBytes(
  pages: number,
  parameters: number,
  locals: Locals,
  body: Code,
): Uint8Array<ArrayBuffer> {
  const type = [FUNCTION, ...vector(Array.from({ length: parameters }, () => [I32])), ...vector([])];
  const variables = vector([
    [...unsigned(locals.i32), I32],
    [...unsigned(locals.v128), V128],
  ]);
  const code = [...variables, ...body, END];
  return Uint8Array.from([
    ...HEADER,
    ...section(1, vector([type])),
    ...section(3, vector([[0]])), // the function has type 0
    ...section(5, vector([[1, ...unsigned(pages), ...unsigned(pages)]])),
    ...section(
      7,
      vector([
        [...name("run"), 0, 0],
        [...name("memory"), 2, 0],
      ]),
    ),
    ...section(10, vector([[...unsigned(code.length), ...code]])),
  ]);
}

/** What a module of `moduleBytes` has to offer, ready to run. */
export interface Running {
  readonly run: (...parameters: number[]) => void;
  readonly memory: ArrayBuffer;
}

/** Compiles and starts a module on this thread; worth it for small ones only. */
export function start(bytes: Uint8Array): Running {
  const { run, memory } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as {
    readonly run: Running["run"];
    readonly memory: { readonly buffer: ArrayBuffer };
  };
  return { run, memory: memory.buffer };
}

/** As much of the WebAssembly JavaScript Interface; TypeScript has it with the browser's types only. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** `\0asm`, version 1. */
const HEADER: Code = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const VOID = 0x40;
const END = 0x0b;
const FUNCTION = 0x60;
const I32 = 0x7f;
const V128 = 0x7b;

const section = (id: number, content: Code): Code => [id, ...unsigned(content.length), ...content];
const vector = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
const name = (ascii: string): Code => vector(Array.from(ascii, (letter) => [letter.charCodeAt(0)]));

/** LEB128 of an unsigned 32-bit number. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** LEB128 of a signed 32-bit number. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    if (rest >= -0x40 && rest < 0x40) return [...bytes, rest & 0x7f];
    bytes.push((rest & 0x7f) | 0x80);
  }
}
