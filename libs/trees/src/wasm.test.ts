import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { f32, get, i32, moduleBytes, repeatWhile, set, start } from "./wasm.ts";

describe("moduleBytes", () => {
  it("numbers of every length keep their value", () => {
    const address = fc.integer({ min: 0, max: 49_151 }).map((words) => words * 4);
    const number = fc.oneof(
      fc.integer(),
      fc.constantFrom(63, 64, -64, -65, 8191, 8192, -8192, -8193, -(2 ** 31)),
    );
    fc.assert(
      fc.property(address, number, address, (to, some, offset) => {
        // The address as the sum of two constants, one of which may be negative, and an offset.
        const from = i32.add(i32.const(some), i32.const((0 - some) | 0));
        const body = f32.store(i32.const(to), f32.add(f32.load(from, offset), f32.load(from, offset)));
        const { run, memory } = start(moduleBytes(3, 0, { i32: 0, v128: 0 }, body));
        const values = new Float32Array(memory);
        expect(memory.byteLength).toBe(3 * 65_536);
        values[offset / 4] = 1.5;
        run();
        expect(values[to / 4]).toBe(3);
      }),
    );
  });

  it("a loop runs its body once, and again while the condition holds", () => {
    const count = f32.store(i32.const(0), f32.add(f32.load(i32.const(0)), f32.load(i32.const(4))));
    const body = repeatWhile(
      [count, set(1, i32.add(get(1), i32.const(1)))],
      i32.lessUnsigned(get(1), get(0)),
    );
    const { run, memory } = start(moduleBytes(1, 1, { i32: 1, v128: 0 }, body));
    const values = new Float32Array(memory);
    for (const [times, expected] of [
      [0, 1],
      [1, 1],
      [7, 7],
    ] as const) {
      values.set([0, 1]);
      run(times);
      expect(values[0]).toBe(expected);
    }
  });
});
