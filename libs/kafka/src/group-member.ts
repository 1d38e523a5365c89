import { type Log, sleep } from "@millrace/runtime";
import type { MemberMemory } from "@millrace/stream";
import { assign } from "./assign.ts";
import type { Cluster, Lane } from "./cluster.ts";
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from "./member-protocol.ts";
import { Backoff, patiently } from "./patience.ts";
import type { Api } from "./wire/api.ts";
import { ConnectionError, checkCode, isRetriable, KafkaError } from "./wire/errors.ts";
import { heartbeat } from "./wire/messages/heartbeat.ts";
import { type JoinedGroup, joinGroup } from "./wire/messages/join-group.ts";
import { leaveGroup } from "./wire/messages/leave-group.ts";
import { syncGroup } from "./wire/messages/sync-group.ts";

/** All members of a group must offer it; tools show it. */
const PROTOCOL = "millrace";
/** A member that is not heard of for so long is taken for dead. Its event loop may be busy for some seconds. */
const SESSION_MS = 8_000;
/** A member learns that others have come or gone by the answer to a heartbeat. */
const HEARTBEAT_MS = 500;
const HEARTBEAT_ANSWER_MS = 5_000;
/** Members that do not join again within this are left behind. */
const REBALANCE_MS = 10_000;
const JOIN_ANSWER_MS = REBALANCE_MS + 10_000;
const LEAVE_MS = 3_000;
/** A joining member's request is with the coordinator by then. */
const BURY_MS = 30;
const WARN_EVERY_MS = 10_000;
/** The leader looks so often for new partitions. */
const TOPICS_MS = 5_000;

const UNKNOWN_MEMBER_ID = 25;
const REBALANCE_IN_PROGRESS = 27;
const MEMBER_ID_REQUIRED = 79;

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
 * A member of a consumer group: joins, says by heartbeats that it lives, and learns which partition numbers are its own.
 * It never stops for a rebalance: what it keeps, it goes on with.
 */
export class GroupMember {
  readonly #cluster: Cluster;
  readonly #options: GroupMemberOptions;
  readonly #log: Log;
  readonly #lane: Lane;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #memberId = "";
  /** Ids of killed predecessors in this process's place, which the group may still wait for. */
  #former: readonly string[] = [];
  #generation = -1;
  /** What this process has been given last, over its restarts. */
  #knows: readonly number[] = [];
  #rejoin = false;
  #wake: () => void = () => {};

  constructor(cluster: Cluster, options: GroupMemberOptions, log: Log) {
    this.#cluster = cluster;
    this.#options = options;
    this.#log = log;
    this.#lane = cluster.openLane("group");
    this.#running = this.#run();
  }

  /** To be called when something that was to be let go of is free for others. */
  released(): void {
    this.#rejoin = true;
    this.#wake();
  }

  /** Leaves the group, whose other members take over at once. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    this.#cluster.closeLane(this.#lane);
    await this.#running;
    this.#cluster.closeLane(this.#lane);
    if (this.#memberId === "") return;
    await this.#leave(this.#memberId).catch((error: unknown) => {
      this.#log.debug(
        { err: error, group: this.#options.group },
        "could not leave the group: it will notice",
      );
    });
  }

  async #run(): Promise<void> {
    const signal = this.#stopping.signal;
    const backoff = new Backoff();
    let failingSinceMs = 0;
    await this.#recall();
    while (!signal.aborted) {
      try {
        const joined = await this.#join();
        const counts = await this.#sync(joined);
        backoff.reset();
        failingSinceMs = 0;
        await this.#stay(counts);
      } catch (error) {
        if (signal.aborted) break;
        const code = error instanceof KafkaError ? error.code : 0;
        const rejoin = error instanceof KafkaError && error.remedy === "rejoin";
        if (!rejoin && !isRetriable(error)) {
          this.#options.onFailed(error);
          break;
        }
        const nowMs = performance.now();
        if (failingSinceMs === 0) failingSinceMs = nowMs;
        const long = nowMs - failingSinceMs > WARN_EVERY_MS;
        if (long) failingSinceMs = nowMs;
        this.#log[long ? "warn" : "debug"](
          { err: error, group: this.#options.group },
          "joining the group again",
        );
        if (code === UNKNOWN_MEMBER_ID) this.#lose();
        if (!rejoin) this.#forgetCoordinator(error);
        if (code !== REBALANCE_IN_PROGRESS) await sleep(backoff.nextMs(), signal);
      }
    }
  }

  /**
   * The group has missed this member and has given what it held to others, who may be gone again by now: all of it is
   * let go of, and what comes back is taken as something new.
   */
  #lose(): void {
    this.#memberId = "";
    this.#generation = -1;
    this.#options.onGiven([]);
  }

  /** What a killed predecessor has left: its member id, and what it worked on. */
  async #recall(): Promise<void> {
    const text = await this.#options.memory.read().catch((error: unknown) => {
      this.#log.warn({ err: error }, "cannot read the member's memory: a predecessor must be missed first");
      return null;
    });
    const [ids = "", partitions = ""] = text?.split("\n") ?? [];
    this.#former = ids.split(" ").filter(Boolean);
    this.#knows = partitions.split(",").filter(Boolean).map(Number);
  }

  async #remember(): Promise<void> {
    await this.#options.memory
      .write(`${[this.#memberId, ...this.#former].join(" ")}\n${this.#knows.join(",")}`)
      .catch((error: unknown) => {
        this.#log.warn({ err: error }, "cannot write the member's memory: a restart will take longer");
      });
  }

  /**
   * Joins, first asking for an id, which is remembered before it can have any effect. Where a predecessor was killed,
   * the group is told to forget it while this member's request waits for it: then the group is never empty in between,
   * and does not wait for more first members (`group.initial.rebalance.delay.ms`).
   */
  async #join(): Promise<JoinedGroup> {
    const { group, topics, holds } = this.#options;
    this.#rejoin = false;
    const metadata = encodeSubscription(topics, {
      holds: this.#generation < 0 ? [] : holds(),
      generation: this.#generation,
      knows: this.#knows,
    });
    const ask = (): Promise<JoinedGroup> => {
      const memberId = this.#memberId;
      const request = {
        group,
        sessionMs: SESSION_MS,
        rebalanceMs: REBALANCE_MS,
        memberId,
        protocol: PROTOCOL,
        metadata,
      };
      return this.#request(joinGroup, request, JOIN_ANSWER_MS);
    };
    let answer: JoinedGroup;
    if (this.#memberId === "") {
      answer = await ask();
      if (answer.errorCode === MEMBER_ID_REQUIRED) {
        this.#memberId = answer.memberId;
        await this.#remember();
      }
    }
    const joining = ask();
    for (const id of this.#former) void this.#bury(id);
    answer = await joining;
    checkCode(answer.errorCode, `joining group ${group}`);
    this.#memberId = answer.memberId;
    return answer;
  }

  async #bury(former: string): Promise<void> {
    await sleep(BURY_MS, this.#stopping.signal);
    try {
      await this.#leave(former);
    } catch (error) {
      this.#log.debug({ err: error }, "the predecessor is not forgotten at once: the group will miss it");
    }
    this.#former = this.#former.filter((id) => id !== former);
  }

  /** Learns what it has been given. The leader decides it for all: it answers what it has counted. */
  async #sync({ generation, leader, members }: JoinedGroup): Promise<ReadonlyMap<string, number> | null> {
    const { group, topics, onGiven } = this.#options;
    const memberId = this.#memberId;
    const assignments = new Map<string, Uint8Array>();
    const counts = leader === memberId ? await this.#counts() : null;
    if (counts !== null) {
      const described = members.map(({ id, metadata }) => decodeSubscription(id, metadata));
      for (const [id, partitions] of assign(described, Math.max(0, ...counts.values()))) {
        assignments.set(id, encodeAssignment(partitions, counts));
      }
    }
    const request = { group, generation, memberId, assignments };
    const { errorCode, assignment } = await this.#request(syncGroup, request, JOIN_ANSWER_MS);
    checkCode(errorCode, `the assignment of group ${group}`);
    const given = decodeAssignment(assignment);
    if (this.#stopping.signal.aborted) return counts;
    this.#generation = generation;
    if (given.length > 0) this.#knows = given;
    this.#log.debug({ group, topics, generation, given }, "partitions given");
    onGiven(given);
    await this.#remember();
    return counts;
  }

  /** Beats until there is a reason to join again: an answer that throws, partitions that came free, new partitions. */
  async #stay(counts: ReadonlyMap<string, number> | null): Promise<void> {
    const { group } = this.#options;
    const signal = this.#stopping.signal;
    const backoff = new Backoff();
    let lookAtMs = performance.now() + TOPICS_MS;
    while (!signal.aborted && !this.#rejoin) {
      const membership = { group, generation: this.#generation, memberId: this.#memberId };
      try {
        const { errorCode } = await this.#request(heartbeat, membership, HEARTBEAT_ANSWER_MS);
        checkCode(errorCode, `a heartbeat to group ${group}`);
        backoff.reset();
      } catch (error) {
        // A connection that broke ends no membership.
        if (signal.aborted || !isRetriable(error)) throw error;
        this.#forgetCoordinator(error);
        await sleep(backoff.nextMs(), signal);
      }
      if (counts !== null && performance.now() > lookAtMs) {
        lookAtMs = performance.now() + TOPICS_MS;
        const now = await this.#counts().catch(() => counts);
        if ([...now].some(([topic, count]) => counts.get(topic) !== count)) return;
      }
      await this.#pause(HEARTBEAT_MS);
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#rejoin) return;
    const turn = new AbortController();
    this.#wake = () => turn.abort();
    await sleep(ms, turn.signal);
  }

  /** How many partitions each topic has now. */
  async #counts(): Promise<Map<string, number>> {
    const { topics } = this.#options;
    await this.#cluster.refresh(topics);
    return new Map(topics.map((topic) => [topic, this.#cluster.topic(topic)?.leaders.length ?? 0]));
  }

  async #request<Q, R>(api: Api<Q, R>, request: Q, timeoutMs: number): Promise<R> {
    const key = { kind: "group", key: this.#options.group } as const;
    const connection = await this.#cluster.coordinator(key, this.#lane);
    return connection.request(api, request, timeoutMs);
  }

  async #leave(memberId: string): Promise<void> {
    const { group } = this.#options;
    const key = { kind: "group", key: group } as const;
    await patiently(
      `leaving group ${group}`,
      async () => {
        try {
          const connection = await this.#cluster.coordinator(key, "control");
          const { errorCode } = await connection.request(leaveGroup, { group, memberId }, LEAVE_MS);
          if (errorCode !== UNKNOWN_MEMBER_ID) checkCode(errorCode, `leaving group ${group}`);
        } catch (error) {
          this.#forgetCoordinator(error);
          throw error;
        }
      },
      { patienceMs: LEAVE_MS },
    );
  }

  #forgetCoordinator(error: unknown): void {
    const moved = error instanceof KafkaError && error.remedy === "coordinator";
    if (moved || error instanceof ConnectionError) {
      this.#cluster.forgetCoordinator({ kind: "group", key: this.#options.group });
    }
  }
}
