import type { ConsumeOptions, StreamRecord } from "@millrace/stream";
import type { MemoryLog } from "./memory-log.ts";

const BATCH_MAX = 500;

/** A consumer group. The newest members get the greater shares; a partition moves only where it must. */
export class MemoryGroup {
  #members: Member[] = [];
  /** Joins and leaves, one after the other. */
  #turn: Promise<void> = Promise.resolve();

  join(member: Member): Promise<void> {
    return this.#change(() => this.#members.unshift(member));
  }

  leave(member: Member): Promise<void> {
    return this.#change(() => {
      this.#members = this.#members.filter((one) => one !== member);
    });
  }

  #change(change: () => void): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      change();
      await this.#balance();
    });
    return this.#turn;
  }

  async #balance(): Promise<void> {
    const partitions = Math.max(0, ...this.#members.map((member) => member.partitions));
    const free = new Set(Array.from({ length: partitions }, (_, partition) => partition));
    const shares = this.#members.map((member, i) => ({
      member,
      share: Math.floor((partitions + this.#members.length - 1 - i) / this.#members.length),
    }));
    for (const { member, share } of shares) {
      for (const partition of member.owned().slice(share)) await member.revoke(partition);
      for (const partition of member.owned()) free.delete(partition);
    }
    for (const { member, share } of shares) {
      for (const partition of [...free].slice(0, share - member.owned().length)) {
        free.delete(partition);
        await member.assign(partition);
      }
    }
  }
}

/** One consumer of a group, and what it follows. */
export class Member {
  readonly partitions: number;
  readonly #options: ConsumeOptions;
  readonly #logs: (topic: string) => readonly MemoryLog[];
  readonly #waiting: Set<() => void>;
  readonly #followed = new Map<number, { isOver: boolean; following: Promise<unknown> }>();

  /** `waiting`: called when something was written. */
  constructor(
    options: ConsumeOptions,
    logs: (topic: string) => readonly MemoryLog[],
    waiting: Set<() => void>,
  ) {
    this.#options = options;
    this.#logs = logs;
    this.#waiting = waiting;
    this.partitions = Math.max(...options.topics.map((topic) => logs(topic).length));
  }

  owned(): readonly number[] {
    return [...this.#followed.keys()];
  }

  async assign(partition: number): Promise<void> {
    const { topics, onAssigned, onFailed } = this.#options;
    const state = { isOver: false, following: Promise.resolve() as Promise<unknown> };
    this.#followed.set(partition, state);
    try {
      const positions = await onAssigned(partition);
      state.following = Promise.all(
        topics.map((topic) => this.#follow(topic, partition, positions.get(topic) ?? null, state)),
      ).catch(onFailed);
    } catch (error) {
      onFailed(error);
    }
  }

  async revoke(partition: number): Promise<void> {
    const ended = this.#end(partition);
    await this.#options.onRevoked(partition);
    await ended;
  }

  async stop(): Promise<void> {
    await Promise.all(this.owned().map((partition) => this.#end(partition)));
  }

  async #end(partition: number): Promise<void> {
    const state = this.#followed.get(partition);
    this.#followed.delete(partition);
    if (state === undefined) return;
    state.isOver = true;
    for (const wake of this.#waiting) wake();
    await state.following;
  }

  async #follow(
    topic: string,
    partition: number,
    position: number | null,
    state: { readonly isOver: boolean },
  ): Promise<void> {
    const log = this.#logs(topic)[partition];
    if (log === undefined) return;
    let next = position ?? log.first;
    while (!state.isOver) {
      const end = log.end;
      if (next >= end) {
        await this.#written();
        continue;
      }
      const records = log.slice(next, end, BATCH_MAX);
      const last: StreamRecord | undefined = records.at(-1);
      const nextOffset = records.length < BATCH_MAX || last === undefined ? end : last.offset + 1;
      await this.#options.onBatch({ topic, partition, records, nextOffset, endOffset: log.end });
      next = nextOffset;
      await new Promise(setImmediate);
    }
  }

  #written(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }
}
