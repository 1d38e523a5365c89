import {
  writeGoAway,
  writePingAck,
  writeReset,
  writeSettings,
  writeSettingsAck,
  writeWindowUpdate,
} from "./control-frames.ts";
import { DeadlineTimer } from "./deadline-timer.ts";
import { type ClientSettings, checkForm, checkPriority, readSettings } from "./frame-form.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  ConnectionError,
  ERROR,
  FLAG,
  FRAME,
  protocolError,
  readUint31,
  SETTING,
  WINDOW_DEFAULT,
} from "./frames.ts";
import { HeaderBlocks } from "./header-blocks.ts";
import type { Limits } from "./limits.ts";
import { Outlet, type Transport } from "./outlet.ts";
import type { BlockPool, Output } from "./output.ts";
import { areTrailers, type Request, readRequest } from "./request.ts";
import type { Sender } from "./sender.ts";
import { StallWatch } from "./stall-watch.ts";
import { Stream, type StreamReceiver } from "./stream.ts";

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly limits: Limits;
  readonly pool: BlockPool;
  /** Monotonic clock, ms. */
  readonly now: () => number;
  /** Serves a new stream. null: its header fields are more than the limit. */
  readonly accept: (stream: Stream, request: Request | null) => StreamReceiver;
  /** An error that is none of the client's. */
  readonly onDefect: (error: unknown) => void;
}

/** Receive windows, of a connection and of each stream: what may be under way on a fast and far line. */
const CONNECTION_WINDOW = 16 * 1024 * 1024;
const STREAM_WINDOW = 4 * 1024 * 1024;
/** Streams reset here, of which the client may not know yet. */
const RESETS_REMEMBERED = 1_000;
/** Idle frames that count for a stream that is reset as soon as it is opened, and for one too many. */
const RAPID_RESET_COST = 20;
const REFUSAL_COST = 4;
/** Idle frames that a frame of an answer makes up for. */
const IDLE_FRAMES_PER_ANSWER = 4;

/**
 * The server's end of an HTTP/2 connection, RFC 9113, on bytes: it is given what the client sent, and writes to a
 * transport. What the client does wrong ends the stream or the connection, and is never thrown.
 */
export class Connection {
  readonly peer: string;
  readonly #options: ConnectionOptions;
  readonly #reader: FrameReader;
  readonly #blocks: HeaderBlocks;
  readonly #outlet: Outlet;
  readonly #output: Output;
  readonly #sender: Sender;
  readonly #watch: StallWatch;
  readonly #deadlines: DeadlineTimer;
  readonly #streams = new Map<number, Stream>();
  /** Streams that are gone while their receivers still work. */
  #abandoned = 0;
  readonly #resets = new Set<number>();
  /** The newest stream, and that which was it before the bytes that are being read. */
  #lastStreamId = 0;
  #lastStreamIdBefore = 0;
  #isClosed = false;
  #isGoingAway = false;
  #hasSettings = false;
  /** The stream of the DATA frame that comes; null: nobody wants it. */
  #dataStream: Stream | null = null;
  #isDataLast = false;
  /** Bytes of body that the client may still send, and those of which it was not told. */
  #receiveWindow = CONNECTION_WINDOW;
  #used = 0;
  /** Frames without work since the last sweep, and frames of answers until then. */
  #idleFrames = 0;
  #answerFramesThen = 0;

  constructor(options: ConnectionOptions) {
    const { transport, limits, pool, now } = options;
    this.peer = transport.peer;
    this.#options = options;
    this.#reader = new FrameReader({
      isClosed: () => this.#isClosed,
      frame: (type, flags, streamId, source, from, to) =>
        this.#frame(type, flags, streamId, source, from, to),
      dataBegin: (flags, streamId, length, bodyLength) =>
        this.#dataBegin(flags, streamId, length, bodyLength),
      data: (source, from, to) => this.#data(source, from, to),
      dataEnd: () => this.#dataEnd(),
    });
    this.#blocks = new HeaderBlocks(limits.headerListBytesMax, (streamId, isLast, fields) =>
      this.#fields(streamId, isLast, fields),
    );
    this.#outlet = new Outlet(transport, pool, (stream) => this.#localEnd(stream));
    this.#output = this.#outlet.output;
    this.#sender = this.#outlet.sender;
    this.#watch = new StallWatch(limits, now());
    this.#deadlines = new DeadlineTimer(now, (dueAt) => this.#expire(dueAt));
    writeSettings(this.#output, [
      [SETTING.maxConcurrentStreams, limits.streamsMax],
      [SETTING.initialWindowSize, STREAM_WINDOW],
      [SETTING.maxHeaderListSize, limits.headerListBytesMax],
    ]);
    writeWindowUpdate(this.#output, 0, CONNECTION_WINDOW - WINDOW_DEFAULT);
    this.#outlet.schedule();
  }

  /** Takes what the client sent. The bytes must stay as they are as long as somebody holds them. */
  receive(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#lastStreamIdBefore = this.#lastStreamId;
    try {
      this.#reader.read(chunk);
    } catch (error) {
      if (!(error instanceof ConnectionError)) this.#options.onDefect(error);
      this.#fail(
        error instanceof ConnectionError ? error : new ConnectionError(ERROR.internalError, "internal error"),
      );
    }
  }

  /** The transport takes more again. */
  resume(): void {
    if (!this.#isClosed) this.#outlet.resume();
  }

  /** Takes no new streams, and closes when the open ones have ended. */
  goAway(): void {
    if (this.#isClosed || this.#isGoingAway) return;
    this.#isGoingAway = true;
    writeGoAway(this.#output, this.#lastStreamId, ERROR.noError, "");
    this.#outlet.schedule();
    this.#endIfDone();
  }

  /** The transport is gone: so are the calls. */
  lost(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#outlet.lost();
    this.#deadlines.stop();
    for (const stream of this.#streams.values()) {
      this.#remove(stream);
      stream.receiver.cancel();
    }
  }

  /** Looks, about once a second, for what takes too long. */
  sweep(): void {
    if (this.#isClosed) return;
    this.#idleFrames = 0;
    this.#answerFramesThen = this.#sender.frames;
    const unsentBytes = this.#options.transport.unsentBytes();
    const { fault, isIdle, stalled } = this.#watch.look(this.#options.now(), {
      hasSettings: this.#hasSettings,
      unfinishedBlock: this.#blocks.unfinished,
      unfinishedFrame: this.#reader.unfinished,
      unreadBytes: this.#sender.queuedBytes + unsentBytes,
      readBytes: this.#sender.sentBytes - unsentBytes,
      streams: this.#streams,
    });
    if (fault !== null) this.#fail(new ConnectionError(ERROR.enhanceYourCalm, fault));
    else if (isIdle) this.goAway();
    for (const stream of stalled) this.#reset(stream, ERROR.enhanceYourCalm);
  }

  // What the receivers of the streams call. On a stream that is gone it has no effect.

  sendHeaders(stream: Stream, block: Uint8Array, isLast: boolean): void {
    if (stream.isGone) return;
    this.#sender.headers(stream, block, isLast);
    this.#outlet.schedule();
  }

  /** A gRPC message, which must stay as it is until it has left. */
  sendMessage(stream: Stream, message: Uint8Array): void {
    if (stream.isGone) return;
    this.#sender.message(stream, message);
    this.#outlet.schedule();
    this.#checkUnread();
  }

  /** Bytes of a body, likewise. */
  sendBody(stream: Stream, body: Uint8Array): void {
    if (stream.isGone) return;
    this.#sender.body(stream, [body]);
    this.#outlet.schedule();
    this.#checkUnread();
  }

  /** The last header block, behind the body that waits. */
  sendTrailers(stream: Stream, block: Uint8Array): void {
    if (stream.isGone) return;
    this.#sender.trailers(stream, block);
    this.#outlet.schedule();
  }

  /** Lets the client send `bytes` of body more; it is told of many at once. */
  allow(stream: Stream, bytes: number): void {
    stream.used += bytes;
    if (stream.used < STREAM_WINDOW / 2 || stream.remoteClosed || stream.isGone) return;
    stream.receiveWindow += stream.used;
    writeWindowUpdate(this.#output, stream.id, stream.used);
    this.#outlet.schedule();
    stream.used = 0;
  }

  /** The receiver has ended its work. Called once for each stream. */
  done(stream: Stream): void {
    stream.isDone = true;
    if (stream.isGone) this.#abandoned -= 1;
  }

  // Frames.

  #frame(type: number, flags: number, streamId: number, source: Buffer, from: number, to: number): void {
    if (!this.#hasSettings && type !== FRAME.settings) throw protocolError("the first frame is not SETTINGS");
    const { unfinished } = this.#blocks;
    if (unfinished !== 0 && (type !== FRAME.continuation || streamId !== unfinished))
      throw protocolError("a header block is interrupted");
    checkForm(type, flags, streamId, to - from);
    if (type !== FRAME.headers) this.#countIdle(1);
    switch (type) {
      case FRAME.headers:
        return this.#blocks.begin(flags, streamId, source, from, to);
      case FRAME.continuation:
        return this.#blocks.continue(flags, source, from, to);
      case FRAME.resetStream:
        return this.#clientReset(streamId);
      case FRAME.settings:
        if ((flags & FLAG.ack) === 0) this.#settings(readSettings(source, from, to));
        return;
      case FRAME.windowUpdate:
        return this.#windowUpdate(streamId, readUint31(source, from));
      case FRAME.ping:
        if ((flags & FLAG.ack) !== 0) return;
        writePingAck(this.#output, source.subarray(from, to));
        return this.#outlet.schedule();
      case FRAME.priority:
        return checkPriority(streamId, source, from);
      default:
        // GOAWAY asks for nothing, and RFC 9113 section 5.5 has unknown frames ignored.
        return;
    }
  }

  /** A header block is there as a whole: a request, or trailers. */
  #fields(streamId: number, isLast: boolean, fields: readonly string[] | null): void {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) return this.#trailers(stream, isLast, fields);
    if (streamId > this.#lastStreamId) return this.#open(streamId, isLast, fields);
    if (this.#resets.has(streamId)) return;
    throw streamId === this.#lastStreamId
      ? new ConnectionError(ERROR.streamClosed, "HEADERS is on a closed stream")
      : protocolError("a stream is older than those before it");
  }

  #open(streamId: number, isLast: boolean, fields: readonly string[] | null): void {
    this.#lastStreamId = streamId;
    if (this.#isGoingAway) return this.#sendReset(streamId, isLast, ERROR.refusedStream);
    if (this.#streams.size + this.#abandoned >= this.#options.limits.streamsMax)
      return this.#refuse(streamId, isLast, ERROR.refusedStream, REFUSAL_COST);
    const request = fields === null ? null : readRequest(fields);
    const contentLength = request === null ? -1 : request.contentLength;
    const isMalformed = (fields !== null && request === null) || (isLast && contentLength > 0);
    if (isMalformed) return this.#refuse(streamId, isLast, ERROR.protocolError, this.#resetCost(streamId));
    const stream = new Stream(this, streamId, STREAM_WINDOW, this.#sender.initialWindow, contentLength);
    stream.remoteClosed = isLast;
    this.#streams.set(streamId, stream);
    const receiver = this.#options.accept(stream, request);
    stream.receiver = receiver;
    if (stream.isGone) return;
    if (receiver.deadlineAt !== null) this.#deadlines.add(receiver.deadlineAt);
    if (isLast) receiver.end();
  }

  #trailers(stream: Stream, isLast: boolean, fields: readonly string[] | null): void {
    if (stream.remoteClosed) this.#punish(stream, ERROR.streamClosed);
    else if (isLast && (fields === null || areTrailers(fields))) this.#remoteEnd(stream);
    else this.#punish(stream, ERROR.protocolError);
  }

  #dataBegin(flags: number, streamId: number, length: number, bodyLength: number): void {
    if (!this.#hasSettings) throw protocolError("the first frame is not SETTINGS");
    if (this.#blocks.unfinished !== 0) throw protocolError("a header block is interrupted");
    if (streamId === 0 || streamId > this.#lastStreamId)
      throw protocolError("DATA is on a stream that is not open");
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0)
      throw new ConnectionError(ERROR.flowControlError, "DATA overruns the window");
    this.#used += length;
    if (this.#used >= CONNECTION_WINDOW / 2) {
      this.#receiveWindow += this.#used;
      writeWindowUpdate(this.#output, 0, this.#used);
      this.#outlet.schedule();
      this.#used = 0;
    }
    this.#isDataLast = (flags & FLAG.endStream) !== 0;
    if (bodyLength === 0 && !this.#isDataLast) this.#countIdle(1);
    const stream = this.#streams.get(streamId);
    this.#dataStream = stream ?? null;
    if (stream === undefined) {
      if (!this.#resets.has(streamId)) this.#refuse(streamId, true, ERROR.streamClosed, 1);
      return;
    }
    stream.receiveWindow -= length;
    if (stream.remoteClosed) this.#punish(stream, ERROR.streamClosed);
    else if (stream.receiveWindow < 0) this.#punish(stream, ERROR.flowControlError);
    else this.allow(stream, length - bodyLength);
  }

  #data(source: Buffer, from: number, to: number): void {
    const stream = this.#dataStream;
    if (stream === null || stream.isGone) return;
    stream.received += to - from;
    if (stream.contentLength >= 0 && stream.received > stream.contentLength)
      this.#punish(stream, ERROR.protocolError);
    else stream.receiver.data(source, from, to);
  }

  #dataEnd(): void {
    const stream = this.#dataStream;
    this.#dataStream = null;
    if (this.#isDataLast && stream !== null && !stream.isGone) this.#remoteEnd(stream);
  }

  #clientReset(streamId: number): void {
    if (streamId > this.#lastStreamId) throw protocolError("RST_STREAM is on an idle stream");
    this.#countIdle(this.#resetCost(streamId));
    this.#resets.delete(streamId);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#remove(stream);
    stream.receiver.cancel();
    this.#endIfDone();
  }

  #settings({ initialWindow, frameBytesMax }: ClientSettings): void {
    this.#hasSettings = true;
    writeSettingsAck(this.#output);
    this.#outlet.schedule();
    if (frameBytesMax !== undefined) this.#sender.frameBytesMax = frameBytesMax;
    if (initialWindow === undefined) return;
    // RFC 9113 section 6.9.2: it moves the windows of the open streams, below zero too.
    const difference = initialWindow - this.#sender.initialWindow;
    this.#sender.initialWindow = initialWindow;
    for (const stream of this.#streams.values()) {
      if (!this.#sender.widenStream(stream, difference))
        throw new ConnectionError(ERROR.flowControlError, "INITIAL_WINDOW_SIZE makes a window too large");
    }
  }

  #windowUpdate(streamId: number, increment: number): void {
    if (streamId > this.#lastStreamId) throw protocolError("WINDOW_UPDATE is on an idle stream");
    this.#outlet.schedule();
    if (streamId === 0) {
      if (increment === 0) throw protocolError("WINDOW_UPDATE adds nothing");
      if (!this.#sender.widen(increment))
        throw new ConnectionError(ERROR.flowControlError, "the window becomes too large");
      return;
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (increment === 0) this.#punish(stream, ERROR.protocolError);
    else if (!this.#sender.widenStream(stream, increment)) this.#punish(stream, ERROR.flowControlError);
  }

  // Streams.

  #remoteEnd(stream: Stream): void {
    if (stream.contentLength >= 0 && stream.received !== stream.contentLength)
      return this.#punish(stream, ERROR.protocolError);
    stream.remoteClosed = true;
    stream.receiver.end();
  }

  /** The last frame of a stream was written. What the client still sends on it, nobody wants (RFC 9113 section 8.1). */
  #localEnd(stream: Stream): void {
    this.#remove(stream);
    if (!stream.remoteClosed) this.#sendReset(stream.id, false, ERROR.noError);
    this.#endIfDone();
  }

  /** Ends a stream for what the client did on it, which costs as much as if it had done so itself. */
  #punish(stream: Stream, code: number): void {
    if (stream.isGone) return;
    this.#countIdle(this.#resetCost(stream.id));
    this.#reset(stream, code);
  }

  #reset(stream: Stream, code: number): void {
    this.#remove(stream);
    stream.receiver.cancel();
    this.#sendReset(stream.id, stream.remoteClosed, code);
    this.#endIfDone();
  }

  /** Answers what is on no open stream. */
  #refuse(streamId: number, isRemoteClosed: boolean, code: number, cost: number): void {
    this.#countIdle(cost);
    this.#sendReset(streamId, isRemoteClosed, code);
  }

  #sendReset(streamId: number, isRemoteClosed: boolean, code: number): void {
    if (!isRemoteClosed) this.#remember(streamId);
    writeReset(this.#output, streamId, code);
    this.#outlet.schedule();
  }

  #remove(stream: Stream): void {
    stream.isGone = true;
    this.#streams.delete(stream.id);
    this.#sender.drop(stream);
    if (!stream.isDone) this.#abandoned += 1;
  }

  #remember(streamId: number): void {
    this.#resets.add(streamId);
    if (this.#resets.size <= RESETS_REMEMBERED) return;
    for (const oldest of this.#resets) {
      this.#resets.delete(oldest);
      return;
    }
  }

  /** Ends the calls whose deadline has passed; answers the earliest that is left. */
  #expire(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { receiver } of this.#streams.values()) {
      if (receiver.deadlineAt === null) continue;
      if (receiver.deadlineAt <= now) receiver.expire();
      else next = Math.min(next, receiver.deadlineAt);
    }
    return next;
  }

  /** A stream that ends in the bytes in which it began has had its cost, and never was meant to be answered. */
  #resetCost(streamId: number): number {
    return streamId > this.#lastStreamIdBefore ? RAPID_RESET_COST : 1;
  }

  #countIdle(cost: number): void {
    this.#idleFrames += cost;
    const madeUpFor = IDLE_FRAMES_PER_ANSWER * (this.#sender.frames - this.#answerFramesThen);
    if (this.#idleFrames > this.#options.limits.idleFramesMax + madeUpFor)
      throw new ConnectionError(ERROR.enhanceYourCalm, "too many frames that do no work");
  }

  #checkUnread(): void {
    if (this.#sender.queuedBytes <= this.#options.limits.answerBytesHeldMax) return;
    this.#fail(new ConnectionError(ERROR.enhanceYourCalm, "too many answers are not read"));
  }

  #endIfDone(): void {
    if (!this.#isGoingAway || this.#streams.size > 0 || this.#isClosed) return;
    this.#end(false);
  }

  #fail(error: ConnectionError): void {
    if (this.#isClosed) return;
    writeGoAway(this.#output, this.#lastStreamId, error.code, error.message);
    this.#end(true);
  }

  #end(isAtFault: boolean): void {
    this.#outlet.end(isAtFault);
    this.lost();
  }
}
