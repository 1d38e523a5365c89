import type { Admin } from "kafkajs";
import { Library, type LibrarySettings } from "./library.ts";
import { libraryError } from "./library-error.ts";

const CREATE_MS = 30_000;

const TOPIC_ALREADY_EXISTS = 36;
/** Another process has just added them. */
const INVALID_PARTITIONS = 37;

/** Where a partition begins, and where what is committed ends. */
export interface PartitionRange {
  readonly partition: number;
  readonly first: number;
  readonly end: number;
}

/**
 * What is asked of a cluster about its topics and groups, by kafkajs, one thing at a time. After a failure it begins
 * anew: kafkajs keeps asking for every topic that it was ever asked about, and for none of them where one is gone.
 * Whether the brokers let us in at all, the cluster's own connections are to be asked before.
 */
export class Administration {
  readonly #settings: LibrarySettings;
  #client: { readonly library: Library; readonly admin: Admin } | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(settings: LibrarySettings) {
    this.#settings = settings;
  }

  /** Does not wait until they are led. Topics that exist are left as they are. */
  createTopics(
    topics: readonly { readonly name: string; readonly config: Readonly<Record<string, string>> }[],
    partitions: number,
  ): Promise<void> {
    const wanted = topics.map(({ name, config }) => ({
      topic: name,
      numPartitions: partitions,
      configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
    }));
    return this.#ask(
      `creating ${topics.map(({ name }) => name).join(", ")}`,
      async (admin) => {
        await admin.createTopics({ topics: wanted, timeout: CREATE_MS, waitForLeaders: false });
      },
      [TOPIC_ALREADY_EXISTS],
    ).then(() => {});
  }

  addPartitions(topics: readonly string[], partitions: number): Promise<void> {
    const wanted = topics.map((topic) => ({ topic, count: partitions }));
    return this.#ask(
      `adding partitions to ${topics.join(", ")}`,
      (admin) => admin.createPartitions({ topicPartitions: wanted, timeout: CREATE_MS }),
      [INVALID_PARTITIONS],
    ).then(() => {});
  }

  async ranges(topic: string): Promise<PartitionRange[]> {
    const found = await this.#ask(`offsets of ${topic}`, (admin) => admin.fetchTopicOffsets(topic));
    return (found ?? [])
      .map(({ partition, low, high }) => ({ partition, first: Number(low), end: Number(high) }))
      .toSorted((a, b) => a.partition - b.partition);
  }

  /** Ids of the members of a group that have joined, or are joining, as this client. */
  async members(group: string, clientId: string): Promise<string[]> {
    const found = await this.#ask(`the members of group ${group}`, (admin) => admin.describeGroups([group]));
    return (found?.groups ?? [])
      .flatMap(({ members }) => members)
      .filter((member) => member.clientId === clientId)
      .map((member) => member.memberId);
  }

  stop(): void {
    this.#stopped = true;
    this.#drop();
  }

  /** Null where what went wrong is fine. */
  async #ask<T>(
    what: string,
    call: (admin: Admin) => Promise<T>,
    fine: readonly number[] = [],
  ): Promise<T | null> {
    const asking = this.#turn.then(async () => {
      try {
        return await call(await this.#connected());
      } catch (error) {
        const problem = libraryError(error, what, fine);
        if (problem === null) return null;
        this.#drop();
        throw problem;
      }
    });
    this.#turn = asking.catch(() => {});
    return asking;
  }

  async #connected(): Promise<Admin> {
    if (this.#stopped) throw new Error("the client was stopped");
    if (this.#client === null) {
      const library = new Library(this.#settings);
      this.#client = { library, admin: library.kafka.admin({ retry: { retries: 0 } }) };
      await this.#client.admin.connect();
    }
    return this.#client.admin;
  }

  #drop(): void {
    this.#client?.library.end();
    void this.#client?.admin.disconnect().catch(() => {});
    this.#client = null;
  }
}
