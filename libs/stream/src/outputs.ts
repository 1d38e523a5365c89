import { HEADERS, type SourcePosition } from "@millrace/contracts";
import type { Output, StreamRecord, Writer } from "./broker.ts";
import type { HeldOutput } from "./checkpoint.ts";
import type { StepDefinition } from "./step.ts";
import { isAbove, type Tail } from "./tail.ts";

/** A traceparent of version 00 has 55 characters; strangers' headers can be of any size and are not passed on. */
const TRACEPARENT_BYTES_MAX = 256;

/** The outputs to one topic that the records of one source caused. */
interface Sequence {
  /** The highest position that stood in the log when the partition was taken over. */
  readonly written: SourcePosition | undefined;
  /** Position of the newest output. */
  offset: number;
  index: number;
}

/**
 * What a partition's task writes during one ownership: gives each output its source position, leaves out what stands
 * in the log already (S3), and keeps one flush in flight while more is appended.
 */
export class Outputs {
  readonly #sequences: ReadonlyMap<string, ReadonlyMap<string, Sequence>>;
  readonly #tails: ReadonlyMap<string, Tail>;
  readonly #appended: Map<string, number>;
  readonly #writer: Writer | null;
  readonly #holds: boolean;
  readonly #onSent: () => void;
  readonly #position: { -readonly [K in keyof SourcePosition]: SourcePosition[K] };
  #held: HeldOutput[] = [];
  #heldBytes = 0;
  #flushing: Promise<void> | null = null;
  #failure: { readonly error: unknown } | null = null;

  /**
   * `writer`: null where the step has no outputs. `tails`: what stands in each output topic. `onSent` is called when
   * something was acknowledged, or has failed.
   */
  constructor(
    definition: Pick<StepDefinition, "topics" | "outputs" | "holdOutputs">,
    partition: number,
    writer: Writer | null,
    tails: ReadonlyMap<string, Tail>,
    onSent: () => void,
  ) {
    const { topics, outputs, holdOutputs } = definition;
    this.#writer = writer;
    this.#holds = holdOutputs === true;
    this.#tails = tails;
    this.#onSent = onSent;
    this.#position = { topic: "", partition, offset: 0, index: 0 };
    this.#appended = new Map(outputs.map((topic) => [topic, 0]));
    this.#sequences = new Map(
      outputs.map((topic) => [
        topic,
        new Map(
          topics.map((source) => [
            source,
            { written: tails.get(topic)?.highest.get(source), offset: Number.NEGATIVE_INFINITY, index: 0 },
          ]),
        ),
      ]),
    );
  }

  /** Takes one output. `traced`: the cause may carry a traceparent, which is passed on. */
  emit(cause: StreamRecord, topic: string, output: Output, traced: boolean): void {
    const { topic: source, offset } = cause;
    const sequence = this.#sequences.get(topic)?.get(source);
    if (sequence === undefined) throw new Error(`the step does not name ${topic} among its outputs`);
    if (offset === sequence.offset) sequence.index++;
    else if (offset > sequence.offset) {
      sequence.offset = offset;
      sequence.index = 0;
    } else
      throw new Error(`outputs to ${topic} are not in their causes' order: ${source}/${offset} comes late`);
    const given = traced ? withTraceparent(output, cause) : output;
    const position = this.#position;
    position.topic = source;
    position.offset = offset;
    position.index = sequence.index;
    if (this.#holds) this.#hold({ topic, output: copyOf(given), cause: { ...position } });
    else this.#append(topic, given, position, sequence.written);
  }

  /** Whether there are outputs that wait for a checkpoint. */
  holds(): boolean {
    return this.#held.length > 0;
  }

  /** Outputs decided and not yet written. */
  held(): readonly HeldOutput[] {
    return [...this.#held];
  }

  /** Writes outputs that were held: the checkpoint that holds them is safe. */
  release(held: readonly HeldOutput[]): void {
    for (const { topic, output, cause } of held) {
      this.#append(topic, output, cause, this.#sequences.get(topic)?.get(cause.topic)?.written);
    }
    this.#held = this.#held.slice(held.length);
    this.#heldBytes = this.#held.reduce((sum, one) => sum + sizeOf(one), 0);
    this.send();
  }

  /**
   * By output topic, where outputs of what lies at or behind `position` of each source stand at the earliest. While the
   * replay is behind what others have written, that is where they wrote it; afterwards, behind all that was appended.
   */
  ends(position: (source: string) => number): Record<string, number> {
    const ends: Record<string, number> = {};
    for (const [topic, { from, highest }] of this.#tails) {
      const isBehind = [...highest].some(([source, { offset }]) => position(source) <= offset);
      ends[topic] = isBehind ? from : (this.#writer?.ends.get(topic) ?? 0) + (this.#appended.get(topic) ?? 0);
    }
    return ends;
  }

  /** About how many bytes wait for a checkpoint. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get pendingBytes(): number {
    return this.#writer?.pendingBytes ?? 0;
  }

  /** Begins to send what was appended; while something is on its way, what comes meanwhile goes with the next. */
  send(): void {
    if (this.#flushing !== null || this.#failure !== null || this.pendingBytes === 0) return;
    this.#flushing = (this.#writer as Writer).flush().then(
      () => {
        this.#flushing = null;
        this.send();
        this.#onSent();
      },
      (error: unknown) => {
        this.#flushing = null;
        this.#failure = { error };
        this.#onSent();
      },
    );
  }

  hasFailed(): boolean {
    return this.#failure !== null;
  }

  /** Throws what a flush has failed with. */
  check(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Resolves when everything appended is acknowledged. */
  async settle(): Promise<void> {
    for (;;) {
      this.check();
      this.send();
      if (this.#flushing === null) return;
      await this.#flushing;
    }
  }

  /** Ends the writer; what was not sent is not written. */
  async stop(): Promise<void> {
    await this.#flushing;
    await this.#writer?.stop();
  }

  #hold(output: HeldOutput): void {
    this.#held.push(output);
    this.#heldBytes += sizeOf(output);
  }

  #append(
    topic: string,
    output: Output,
    position: SourcePosition,
    written: SourcePosition | undefined,
  ): void {
    if (!isAbove(position, written)) return;
    (this.#writer as Writer).append(topic, output, position);
    this.#appended.set(topic, (this.#appended.get(topic) as number) + 1);
  }
}

function withTraceparent(output: Output, cause: StreamRecord): Output {
  const traceparent = cause.header(HEADERS.traceparent);
  return traceparent === undefined || traceparent.length > TRACEPARENT_BYTES_MAX
    ? output
    : { ...output, headers: { [HEADERS.traceparent]: traceparent, ...output.headers } };
}

function sizeOf({ output: { key, value } }: HeldOutput): number {
  return 100 + (key?.length ?? 0) + (value?.length ?? 0);
}

/** The writer of an output may use its bytes again. */
function copyOf({ key, value, headers = {} }: Output): Output {
  const copy = <T extends Uint8Array | string | null>(data: T): T =>
    (data instanceof Uint8Array ? new Uint8Array(data) : data) as T;
  const copied = Object.entries(headers).map(([name, text]) => [name, copy(text)] as const);
  return { key: copy(key), value: copy(value), headers: Object.fromEntries(copied) };
}
