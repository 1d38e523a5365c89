import { FLAG, FRAME, FRAME_HEADER_BYTES, writeFrameHeader, writeUint32 } from "./frames.ts";
import type { Output } from "./output.ts";

/** Settings, each an identifier and a value. */
export function writeSettings(
  output: Output,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  const at = begin(output, FRAME.settings, FLAG.none, 0, settings.length * 6);
  settings.forEach(([id, value], i) => {
    output.bytes[at + i * 6] = id >>> 8;
    output.bytes[at + i * 6 + 1] = id;
    writeUint32(output.bytes, at + i * 6 + 2, value);
  });
}

export function writeSettingsAck(output: Output): void {
  begin(output, FRAME.settings, FLAG.ack, 0, 0);
}

/** The answer to a PING of eight bytes. */
export function writePingAck(output: Output, payload: Uint8Array): void {
  const at = begin(output, FRAME.ping, FLAG.ack, 0, payload.length);
  output.bytes.set(payload, at);
}

export function writeWindowUpdate(output: Output, streamId: number, increment: number): void {
  const at = begin(output, FRAME.windowUpdate, FLAG.none, streamId, 4);
  writeUint32(output.bytes, at, increment);
}

export function writeReset(output: Output, streamId: number, code: number): void {
  const at = begin(output, FRAME.resetStream, FLAG.none, streamId, 4);
  writeUint32(output.bytes, at, code);
}

/** `reason` is for people. */
export function writeGoAway(output: Output, lastStreamId: number, code: number, reason: string): void {
  const text = Buffer.from(reason);
  const at = begin(output, FRAME.goAway, FLAG.none, 0, 8 + text.length);
  writeUint32(output.bytes, at, lastStreamId);
  writeUint32(output.bytes, at + 4, code);
  output.bytes.set(text, at + 8);
}

/** Writes a frame's header and answers where its payload of `length` bytes goes. */
function begin(output: Output, type: number, flags: number, streamId: number, length: number): number {
  const at = output.reserve(FRAME_HEADER_BYTES + length);
  writeFrameHeader(output.bytes, at, length, type, flags, streamId);
  return at + FRAME_HEADER_BYTES;
}
