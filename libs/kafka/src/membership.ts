import type { Consumer } from "kafkajs";
import type { Member } from "./assign.ts";
import { Library, type LibrarySettings } from "./library.ts";
import { libraryError } from "./library-error.ts";
import { partitionAssigner } from "./partition-assigner.ts";
import { ConnectionError } from "./wire/errors.ts";

/** A member that is not heard of for so long is taken for dead. Its event loop may be busy for some seconds. */
const SESSION_MS = 8_000;
/** A member learns that others have come or gone by the answer to a heartbeat. */
const HEARTBEAT_MS = 500;
/** kafkajs sends heartbeats between its fetches; it does not fetch, but rests for so long instead. */
const TURN_MS = 250;
/** Without an answer to a heartbeat for so long, and then a little longer, the coordinator is looked for anew. */
const SILENCE_MS = 5_000;
const DOUBT_MS = 1_000;
/** Members that do not join again within this are left behind. */
const REBALANCE_MS = 10_000;
/** kafkajs asks who leads the partitions when it joins, which is enough: it reads none of them. */
const METADATA_MS = 24 * 60 * 60 * 1000;
const RETRIES = 100;

export interface Joined {
  readonly memberId: string;
  /** Partition numbers of all topics together, ascending. */
  readonly partitions: readonly number[];
  /** By topic, how many partitions there were; null: another member has assigned them. */
  readonly counts: ReadonlyMap<string, number> | null;
}

export interface MembershipOptions {
  readonly group: string;
  readonly topics: readonly string[];
  /** What the member says of itself when it joins, each time. */
  readonly describe: () => Omit<Member, "id">;
  /** The group has heard that a member comes; about now it asks to be let in. */
  readonly onJoining: () => void;
  /** It is a member, or a member still, after others have come or gone. */
  readonly onJoined: (joined: Joined) => void;
}

/**
 * A member of a consumer group, from when it joins to when kafkajs cannot go on with it. The consumer has all its
 * partitions paused and never fetches: it joins, beats and assigns.
 */
export class Membership {
  /** Resolves with the reason. */
  readonly ended: Promise<unknown>;
  readonly #options: MembershipOptions;
  readonly #library: Library;
  readonly #consumer: Consumer;
  #end: (reason: unknown) => void = () => {};
  #isOver = false;
  #again = false;
  #counts: ReadonlyMap<string, number> | null = null;
  #heardAtMs = performance.now();
  #doubt: NodeJS.Timeout | null = null;

  constructor(settings: LibrarySettings, options: MembershipOptions) {
    const { group } = options;
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#library = new Library(settings);
    const describe = (): Omit<Member, "id"> => {
      this.#again = false;
      this.#counts = null;
      return options.describe();
    };
    const onAssigned = (counts: ReadonlyMap<string, number>): void => {
      this.#counts = counts;
    };
    this.#consumer = this.#library.kafka.consumer({
      groupId: group,
      partitionAssigners: [partitionAssigner(describe, onAssigned)],
      sessionTimeout: SESSION_MS,
      rebalanceTimeout: REBALANCE_MS,
      heartbeatInterval: HEARTBEAT_MS,
      maxWaitTimeInMs: TURN_MS,
      metadataMaxAge: METADATA_MS,
      allowAutoTopicCreation: false,
      retry: {
        initialRetryTime: 50,
        maxRetryTime: 300,
        retries: RETRIES,
        restartOnFailure: async () => false,
      },
    });
    this.#listen();
  }

  /** Makes ready for joining. */
  async connect(): Promise<void> {
    try {
      await this.#consumer.connect();
      await this.#consumer.subscribe({ topics: [...this.#options.topics] });
    } catch (error) {
      this.#crash(error);
    }
  }

  /** Joins; what comes of it, the options and `ended` tell. */
  join(): void {
    if (this.#isOver) return;
    const running = this.#consumer.run({ autoCommit: false, eachBatch: async () => {} });
    running.catch((error: unknown) => this.#crash(error));
    this.#consumer.pause(this.#options.topics.map((topic) => ({ topic })));
  }

  /** Joins again, to say what has changed. */
  joinAgain(): void {
    this.#again = true;
  }

  /** Does not tell the group. */
  end(reason: unknown): void {
    this.#isOver = true;
    if (this.#doubt !== null) clearTimeout(this.#doubt);
    this.#library.end();
    void this.#consumer.disconnect().catch(() => {});
    this.#end(reason);
  }

  #listen(): void {
    const consumer = this.#consumer;
    const { events } = consumer;
    let isComing = false;
    consumer.on(events.REQUEST, ({ payload }) => {
      if (isComing || payload.apiName !== "JoinGroup") return;
      isComing = true;
      this.#options.onJoining();
    });
    consumer.on(events.GROUP_JOIN, ({ payload: { memberId, memberAssignment } }) => {
      if (this.#isOver) return;
      this.#hear();
      const partitions = [...new Set(Object.values(memberAssignment).flat())].toSorted((a, b) => a - b);
      this.#options.onJoined({ memberId, partitions, counts: this.#counts });
    });
    consumer.on(events.HEARTBEAT, () => this.#hear());
    consumer.on(events.REBALANCING, () => this.#hear());
    consumer.on(events.FETCH_START, () => this.#turn());
    consumer.on(events.CRASH, ({ payload }) => this.#crash(payload.error));
  }

  #crash(error: unknown): void {
    if (!this.#isOver) this.end(libraryError(error, `the membership in group ${this.#options.group}`));
  }

  #hear(): void {
    this.#heardAtMs = performance.now();
    if (this.#doubt !== null) clearTimeout(this.#doubt);
    this.#doubt = null;
  }

  /** Between two heartbeats, if there are any: kafkajs beats on at a coordinator that is gone. */
  #turn(): void {
    if (this.#isOver) return;
    if (performance.now() - this.#heardAtMs > SILENCE_MS) {
      this.#doubt ??= setTimeout(() => {
        const { group } = this.#options;
        this.end(new ConnectionError(`no heartbeat to group ${group} was answered for ${SILENCE_MS} ms`));
      }, DOUBT_MS);
    }
    if (!this.#again) return;
    this.#again = false;
    // kafkajs has no call for joining again. It does so when a turn fails with what the coordinator answers to a
    // heartbeat when others join, and a turn fails with what its listeners throw.
    throw Object.assign(new Error("partitions have come free"), { type: "REBALANCE_IN_PROGRESS" });
  }
}
