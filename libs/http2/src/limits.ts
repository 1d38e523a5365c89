/** What a server lets its clients cost. Times in ms. */
export interface Limits {
  /** Connections; more are closed as they come. */
  readonly connectionsMax: number;
  /** Calls of one connection at a time, those included that were cancelled while their handler still runs. */
  readonly streamsMax: number;
  /** Header fields of a request: octets of names and values, and 32 for each (RFC 9113 section 6.5.2). */
  readonly headerListBytesMax: number;
  /**
   * Frames of a connection within a second that do no work: resets, pings, settings, priorities, window updates,
   * continuations, empty DATA and unknown ones. A stream that is reset as soon as it was opened counts as 20, one that
   * is more than there may be as 4; each frame of an answer's body makes up for 4.
   */
  readonly idleFramesMax: number;
  /** Bytes of requests that are held because they are not complete, or not read, over all connections. */
  readonly requestBytesHeldMax: number;
  /** Bytes of answers that wait for a client that does not read them, for each connection. */
  readonly answerBytesHeldMax: number;
  /** From the connection to the client's first settings. */
  readonly handshakeMs: number;
  /** For a frame, a header block, or 1 KiB of a request's body, once the client has begun with it. */
  readonly stallMs: number;
  /** For a client to read something of the answers that wait for it. */
  readonly unreadMs: number;
  /** For a connection without calls. */
  readonly idleMs: number;
}

export const LIMITS: Limits = {
  connectionsMax: 4_096,
  streamsMax: 1_000,
  headerListBytesMax: 16_384,
  idleFramesMax: 2_000,
  requestBytesHeldMax: 256 * 1024 * 1024,
  answerBytesHeldMax: 64 * 1024 * 1024,
  handshakeMs: 10_000,
  stallMs: 20_000,
  unreadMs: 60_000,
  idleMs: 600_000,
};

/** The limits with the defaults for those that are not given. Throws when one is no whole number above 0. */
export function withDefaults(given: Partial<Limits>): Limits {
  const limits = { ...LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`limits.${name} is ${value}: a whole number above 0 is expected`);
  }
  return limits;
}
