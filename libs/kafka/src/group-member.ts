import { randomUUID } from "node:crypto";
import { every, type Log, sleep, withDeadline } from "@millrace/runtime";
import type { MemberMemory } from "@millrace/stream";
import type { Administration } from "./administration.ts";
import type { Cluster } from "./cluster.ts";
import type { LibrarySettings } from "./library.ts";
import { type Joined, Membership } from "./membership.ts";
import { Backoff, patiently } from "./patience.ts";
import {
  AuthenticationError,
  ConnectionError,
  checkCode,
  isRetriable,
  KafkaError,
  UnsupportedVersionError,
} from "./wire/errors.ts";
import { leaveGroup } from "./wire/messages/leave-group.ts";

const LEAVE_MS = 3_000;
/** A joining member's request is with the coordinator by then. */
const BURY_MS = 30;
const WARN_EVERY_MS = 10_000;
/** The member that assigns looks so often for new partitions. */
const TOPICS_MS = 5_000;

const UNKNOWN_MEMBER_ID = 25;

export interface GroupMemberPorts {
  readonly cluster: Cluster;
  readonly administration: Administration;
  readonly settings: LibrarySettings;
}

export interface GroupMemberOptions {
  readonly group: string;
  readonly topics: readonly string[];
  readonly memory: MemberMemory;
  /** Partition numbers that this member works on now, also while it takes them or lets go of them. */
  readonly holds: () => number[];
  /** All partition numbers that it has been given: what it holds besides is to be let go of. */
  readonly onGiven: (partitions: readonly number[]) => void;
  /** It cannot be a member of this group. */
  readonly onFailed: (error: unknown) => void;
}

/**
 * Keeps this process a member of a consumer group, and learns which partition numbers are its own. It never stops for
 * a rebalance: what it keeps, it goes on with, also while kafkajs begins anew.
 */
export class GroupMember {
  readonly #ports: GroupMemberPorts;
  readonly #options: GroupMemberOptions;
  readonly #log: Log;
  readonly #stopping = new AbortController();
  #membership: Membership | null = null;
  #memberId = "";
  /** Names this process's place in the group, over its restarts: by it the group's members of before are known. */
  #place = "";
  #toldAtMs = 0;
  /** What this process has been given last, over its restarts. */
  #knows: readonly number[] = [];
  #counts: ReadonlyMap<string, number> | null = null;
  /** Resolves with whether this member's former id was one of the group's to the last. */
  #buried: Promise<boolean> = Promise.resolve(false);
  #backoff = new Backoff();
  #failingSinceMs = 0;

  constructor(ports: GroupMemberPorts, options: GroupMemberOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#log = ports.settings.log;
    void this.#run();
    void every(
      TOPICS_MS,
      this.#stopping.signal,
      () => this.#look(),
      () => {},
    );
  }

  /** To be called when something that was to be let go of is free for others. */
  released(): void {
    this.#membership?.joinAgain();
  }

  /** Leaves the group, whose other members take over at once. */
  async stop(): Promise<void> {
    const { group } = this.#options;
    this.#stopping.abort();
    if (this.#membership === null) return;
    this.#membership.end(null);
    const leaving = async (): Promise<void> => {
      if (this.#memberId !== "" && (await this.#leave(this.#memberId))) return;
      // It was about to join: the group has an id for it that it does not know itself.
      for (const id of await this.#present()) await this.#leave(id);
    };
    await withDeadline(LEAVE_MS, `leaving group ${group}`, leaving()).catch((error: unknown) => {
      this.#log.debug({ err: error, group }, "could not leave the group: it will notice");
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    await this.#recall();
    while (!signal.aborted) {
      const reason = await this.#live().catch((error: unknown) => error);
      if (signal.aborted) return;
      if (isFinal(reason)) {
        this.#options.onFailed(reason);
        return;
      }
      const nowMs = performance.now();
      if (this.#failingSinceMs === 0) this.#failingSinceMs = nowMs;
      const long = nowMs - this.#failingSinceMs > WARN_EVERY_MS;
      if (long) this.#failingSinceMs = nowMs;
      this.#log[long ? "warn" : "debug"](
        { err: reason, group: this.#options.group },
        "joining the group again",
      );
      await sleep(this.#backoff.nextMs(), signal);
    }
  }

  /** One membership. Resolves with why it has ended. */
  async #live(): Promise<unknown> {
    const { group, topics, holds } = this.#options;
    let former: readonly string[] = [];
    const membership = new Membership(
      { ...this.#ports.settings, clientId: this.#clientId },
      {
        group,
        topics,
        describe: () => ({ holds: holds(), toldAtMs: this.#toldAtMs, knows: this.#knows }),
        onJoining: () => {
          this.#buried = this.#bury(former);
        },
        onJoined: (joined) => {
          void this.#buried.then((isKept) => {
            if (this.#membership === membership) this.#take(joined, isKept);
          });
        },
      },
    );
    this.#membership = membership;
    try {
      [former] = await Promise.all([
        this.#present(),
        membership.connect(),
        // Tells whether the brokers let us in at all.
        this.#ports.cluster.refresh(topics),
      ]);
    } catch (error) {
      membership.end(error);
    }
    membership.join();
    return membership.ended;
  }

  #take({ memberId, partitions, counts }: Joined, isKept: boolean): void {
    const { group, topics, onGiven } = this.#options;
    if (this.#stopping.signal.aborted) return;
    this.#backoff.reset();
    this.#failingSinceMs = 0;
    // The group has missed this member and has given what it held to others, who may be gone again by now: all of it
    // is let go of, and what comes back is taken as something new.
    if (memberId !== this.#memberId && !isKept) onGiven([]);
    this.#buried = Promise.resolve(false);
    this.#memberId = memberId;
    this.#toldAtMs = Date.now();
    this.#counts = counts;
    if (partitions.length > 0) this.#knows = partitions;
    this.#log.debug({ group, topics, partitions }, "partitions given");
    onGiven(partitions);
    void this.#remember();
  }

  /** New partitions are to be shared, too. */
  async #look(): Promise<void> {
    const { cluster } = this.#ports;
    const counts = this.#counts;
    if (counts === null) return;
    await cluster.refresh(counts.keys());
    const isOld = [...counts].some(
      ([topic, count]) => (cluster.topic(topic)?.leaders.length ?? count) !== count,
    );
    if (isOld && this.#counts === counts) this.#membership?.joinAgain();
  }

  async #recall(): Promise<void> {
    const text = await this.#options.memory.read().catch((error: unknown) => {
      this.#log.warn({ err: error }, "cannot read the member's memory: a predecessor must be missed first");
      return null;
    });
    const [place = "", partitions = ""] = text?.split("\n") ?? [];
    this.#knows = partitions.split(",").filter(Boolean).map(Number);
    this.#place = place;
    if (place !== "") return;
    this.#place = randomUUID().slice(0, 8);
    await this.#remember();
  }

  async #remember(): Promise<void> {
    await this.#options.memory.write(`${this.#place}\n${this.#knows.join(",")}`).catch((error: unknown) => {
      this.#log.warn({ err: error }, "cannot write the member's memory: a restart will take longer");
    });
  }

  get #clientId(): string {
    return `${this.#ports.settings.clientId}.${this.#place}`;
  }

  /** Ids that the group has for this place. */
  #present(): Promise<string[]> {
    return this.#ports.administration.members(this.#options.group, this.#clientId);
  }

  /**
   * Has the group forget the members that were in this place before, while the new one's request to join waits for
   * them: then the group is never empty in between, and does not wait for more first members
   * (`group.initial.rebalance.delay.ms`).
   */
  async #bury(former: readonly string[]): Promise<boolean> {
    const current = this.#memberId;
    if (former.length === 0) return false;
    await sleep(BURY_MS);
    const wereMembers = await Promise.all(
      former.map((id) =>
        this.#leave(id).catch((error: unknown) => {
          this.#log.debug({ err: error }, "the predecessor is not forgotten at once: the group will miss it");
          return false;
        }),
      ),
    );
    return wereMembers[former.indexOf(current)] ?? false;
  }

  /** Answers whether the group had such a member. */
  async #leave(memberId: string): Promise<boolean> {
    const { group } = this.#options;
    const { cluster } = this.#ports;
    const key = { kind: "group", key: group } as const;
    return patiently(
      `leaving group ${group}`,
      async () => {
        try {
          const connection = await cluster.coordinator(key, "control");
          const { errorCode } = await connection.request(leaveGroup, { group, memberId }, LEAVE_MS);
          if (errorCode === UNKNOWN_MEMBER_ID) return false;
          checkCode(errorCode, `leaving group ${group}`);
          return true;
        } catch (error) {
          const moved = error instanceof KafkaError && error.remedy === "coordinator";
          if (moved || error instanceof ConnectionError) cluster.forgetCoordinator(key);
          throw error;
        }
      },
      { patienceMs: LEAVE_MS },
    );
  }
}

/** Whether the group will never take this member. */
function isFinal(reason: unknown): boolean {
  if (reason instanceof AuthenticationError || reason instanceof UnsupportedVersionError) return true;
  return reason instanceof KafkaError && reason.remedy !== "rejoin" && !isRetriable(reason);
}
