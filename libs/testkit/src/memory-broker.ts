import { formatPosition, HEADERS } from "@millrace/contracts";
import {
  type Broker,
  FencedError,
  type Output,
  type OutputRecord,
  type StreamRecord,
  type Writer,
} from "@millrace/stream";
import { Member, MemoryGroup } from "./memory-group.ts";
import { MemoryLog } from "./memory-log.ts";

export interface MemoryBroker extends Broker {
  /** All records of a topic, partition after partition. */
  records(topic: string): readonly StreamRecord[];
  /** Writes as a producer would. */
  write(records: readonly OutputRecord[]): void;
  /** The next records sent or flushed are written, then it rejects: the client has waited in vain for too long. */
  loseNextAck(): void;
  /** The next request of a writer arrives twice: the client has sent it again. */
  repeatNextRequest(): void;
}

const READ_MAX = 500;
const RECORD_BYTES = 100;

/**
 * Kafka in memory, for one process. `retained` is how many records a partition keeps at least; none are dropped
 * without it. Gaps against the real one: a member is never taken for dead, and there are no time-outs.
 */
export function createMemoryBroker(
  now: () => number = () => 0,
  retained: number = Number.POSITIVE_INFINITY,
): MemoryBroker {
  const topics = new Map<string, { readonly bytesMax: number; readonly logs: MemoryLog[] }>();
  const groups = new Map<string, MemoryGroup>();
  const epochs = new Map<string, number>();
  const waiting = new Set<() => void>();
  let losesAck = false;
  let repeats = false;

  const logsOf = (topic: string): MemoryLog[] => {
    const found = topics.get(topic);
    if (found === undefined) throw new Error(`there is no topic ${topic}`);
    return found.logs;
  };
  const logOf = (topic: string, partition: number): MemoryLog => {
    const log = logsOf(topic)[partition];
    if (log === undefined) throw new Error(`topic ${topic} has no partition ${partition}`);
    return log;
  };
  const wake = (): void => {
    for (const one of waiting) one();
  };
  const acknowledge = async (): Promise<void> => {
    wake();
    await Promise.resolve();
    if (!losesAck) return;
    losesAck = false;
    throw new Error("the acknowledgement was lost");
  };
  const write = (records: readonly OutputRecord[]): void => {
    for (const record of records) logOf(record.topic, record.partition).append([record], now());
    wake();
  };

  const openWriter = async (name: string, partition: number, outputs: readonly string[]): Promise<Writer> => {
    const id = `${name}.${partition}`;
    const epoch = (epochs.get(id) ?? 0) + 1;
    epochs.set(id, epoch);
    const isCurrent = (): boolean => epochs.get(id) === epoch;
    const fenced = (): FencedError => new FencedError(`another writer ${id} was opened`);
    const ends = new Map<string, number>();
    // One partition after another learns of it: until then a former writer can still write there.
    for (const topic of outputs) {
      await Promise.resolve();
      if (!isCurrent()) throw fenced();
      const log = logOf(topic, partition);
      log.fence(id, epoch);
      ends.set(topic, log.end);
    }
    wake();
    const session = `${id}/${epoch}`;
    let sequence = 0;
    let pending: { readonly topic: string; readonly output: Output; readonly bytes: number }[] = [];
    let inFlightBytes = 0;
    let failure: Error | null = null;
    const bytesOf = (appended: typeof pending): number => appended.reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      ends,
      get pendingBytes() {
        return inFlightBytes + bytesOf(pending);
      },
      append: (topic, { key, value, headers = {} }, cause) => {
        if (!ends.has(topic)) throw new Error(`the writer ${id} was not opened for ${topic}`);
        const output = {
          key: copy(key),
          value: copy(value),
          headers: {
            ...Object.fromEntries(Object.entries(headers).map(([header, data]) => [header, copy(data)])),
            [HEADERS.source]: formatPosition(cause),
          },
        };
        const bytes = RECORD_BYTES + (output.key?.length ?? 0) + (output.value?.length ?? 0);
        pending.push({ topic, output, bytes });
      },
      flush: async () => {
        if (failure !== null) throw failure;
        const sent = pending;
        pending = [];
        inFlightBytes += bytesOf(sent);
        try {
          for (const [topic, some] of Map.groupBy(sent, (one) => one.topic)) {
            await Promise.resolve();
            const log = logOf(topic, partition);
            const request = ++sequence;
            for (let times = repeats ? 2 : 1; times > 0; times--) {
              if (!log.admits(id, epoch)) throw fenced();
              if (log.isNew(session, request))
                log.append(
                  some.map(({ output }) => output),
                  now(),
                );
            }
            repeats = false;
          }
          await acknowledge();
        } catch (error) {
          failure = error as Error;
          throw error;
        }
        inFlightBytes -= bytesOf(sent);
      },
      stop: async () => {},
    };
  };

  return {
    ensureTopics: async (specs, partitions) => {
      for (const { name, config } of specs) {
        const bytesMax = Number(config["max.message.bytes"] ?? 1_048_588);
        const topic = topics.get(name) ?? { bytesMax, logs: [] };
        topics.set(name, topic);
        while (topic.logs.length < partitions) {
          topic.logs.push(new MemoryLog(name, topic.logs.length, topic.bytesMax, retained));
        }
      }
    },
    offsets: async (topic) => logsOf(topic).map(({ partition, first, end }) => ({ partition, first, end })),
    consume: async (options) => {
      const group = groups.get(options.group) ?? new MemoryGroup();
      groups.set(options.group, group);
      const member = new Member(options, logsOf, waiting);
      await group.join(member);
      let stopping: Promise<void> | undefined;
      return {
        stop: () => {
          stopping ??= member.stop().then(() => group.leave(member));
          return stopping;
        },
      };
    },
    read: async function* (topic, partition, from, until) {
      const log = logOf(topic, partition);
      for (let next = from; next < until; ) {
        await Promise.resolve();
        const records = log.slice(next, until, READ_MAX);
        const last = records.at(-1);
        if (last === undefined) return;
        yield records;
        next = last.offset + 1;
      }
    },
    writer: openWriter,
    send: async (records) => {
      write(records);
      await acknowledge();
    },
    stop: async () => {},
    records: (topic) => logsOf(topic).flatMap((log) => log.all()),
    write,
    loseNextAck: () => {
      losesAck = true;
    },
    repeatNextRequest: () => {
      repeats = true;
    },
  };
}

/** The writer of an output may use its bytes again. */
function copy<T extends Uint8Array | string | null>(data: T): Uint8Array | (null & T) {
  return (data === null ? null : Buffer.from(data as Uint8Array)) as Uint8Array | (null & T);
}
