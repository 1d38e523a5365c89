import { setImmediate } from "node:timers/promises";

const PIECE_BYTES = 2 ** 20;

/**
 * A copy that may be transferred to another thread. It is made in pieces, between which the calling thread does other
 * things: 500 MB at once would hold it for 0.2 s.
 */
export async function copyInPieces(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const copy = new Uint8Array(bytes.byteLength);
  for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES) {
    copy.set(bytes.subarray(at, at + PIECE_BYTES), at);
    await setImmediate();
  }
  return copy;
}
