import { HEADERS, parsePosition } from "@millrace/contracts";
import { createLog, sleep } from "@millrace/runtime";
import {
  type Broker,
  type CheckpointStore,
  headerText,
  type RunningStep,
  type StepDefinition,
  startStep,
} from "@millrace/stream";
import {
  CRASH_POINTS,
  estranged,
  type MemoryBroker,
  type Mortal,
  memoryCheckpoints,
  mortal,
} from "@millrace/testkit";

const log = createLog("simulation", "silent");
const FENCED_WAIT_MS = 4;
/** Passings of its crash point after which a process dies, at most; a take-over passes a point once or twice. */
const PASSINGS_MAX = 5;
const TAKE_OVER = /open|load|read/;
/** How long a process lives before it becomes a zombie, and then, at most. */
const LIFE_MS = 25;
const LATENCY_MS = 2;

export interface Fates {
  /** Whether processes die at all. */
  readonly killing: boolean;
  /** How often a process becomes a zombie instead of dying: it goes on beside the one that takes over. */
  readonly zombies: number;
  /** Changes what each process sees of the broker. */
  readonly plant?: (broker: Broker) => Broker;
}

/** A step's processes, one after another and, with zombies, beside one another. */
export interface Lives {
  crashes(): number;
  zombies(): number;
  /** What has failed that was no process's death. */
  failures(): readonly unknown[];
  /** Lets the present process live on to the end: nobody dies any more. */
  spare(): void;
  stop(): Promise<void>;
}

/**
 * Runs a step in processes that die at crash points chosen by `draw`, each with a successor. A successor of a dead
 * process has its disk; one of a zombie is another machine's and has none.
 */
export function live(
  broker: Broker,
  define: (checkpoints: CheckpointStore) => StepDefinition,
  draw: () => number,
  { killing, zombies, plant = (one) => one }: Fates,
): Lives {
  let crashes = 0;
  let undead = 0;
  let born = 0;
  let isSpared = false;
  let isOver = false;
  const failures: unknown[] = [];
  const running = new Set<Promise<void>>();

  const start = async (process: Mortal): Promise<RunningStep> =>
    startStep(process.definition, {
      broker: plant(process.broker),
      clock: { now: () => Date.now() },
      log,
      chance: draw,
      fencedWaitMs: FENCED_WAIT_MS,
      fail: (error) => {
        if (!process.dead()) failures.push(error);
      },
    });

  const bear = (checkpoints: CheckpointStore): void => {
    const life = (async () => {
      const turnsZombie = killing && draw() < zombies;
      const point = CRASH_POINTS[Math.floor(draw() * CRASH_POINTS.length)] as (typeof CRASH_POINTS)[number];
      const most = TAKE_OVER.test(point) ? 1 : PASSINGS_MAX;
      const passings =
        killing && !turnsZombie && !isSpared ? 1 + Math.floor(draw() * most) : Number.POSITIVE_INFINITY;
      // A group of its own: nobody tells a zombie that it was forgotten.
      const own = estranged(broker, String(++born));
      const process = mortal(own, define(checkpoints), point, passings, () => sleep(draw() * LATENCY_MS));
      const step = await start(process);
      const untilMs = Date.now() + draw() * LIFE_MS;
      while (!process.dead() && !isOver && !(turnsZombie && !isSpared && Date.now() > untilMs))
        await sleep(1);
      if (process.dead()) {
        crashes++;
        await step.stop();
        if (!isOver) bear(checkpoints);
        return;
      }
      if (!isOver) {
        undead++;
        bear(memoryCheckpoints());
        const deathMs = Date.now() + draw() * LIFE_MS;
        while (!isOver && Date.now() < deathMs) await sleep(1);
        process.kill();
      }
      await step.stop();
    })();
    running.add(life);
    void life.catch((error: unknown) => failures.push(error)).finally(() => running.delete(life));
  };
  bear(memoryCheckpoints());

  return {
    crashes: () => crashes,
    zombies: () => undead,
    failures: () => failures,
    spare: () => {
      isSpared = true;
    },
    stop: async () => {
      isOver = true;
      while (running.size > 0) await Promise.allSettled(running);
    },
  };
}

/** Throws when a process has failed by itself. */
export function throwFailures(steps: readonly Lives[]): void {
  const [failure] = steps.flatMap((step) => step.failures());
  if (failure !== undefined) throw new Error("a process has failed that was not to die", { cause: failure });
}

/**
 * The values of a topic as they lie in the log. Throws when an output stands there twice, out of its source's order,
 * or after one that is missing: every reader would notice.
 */
export function exactLog(broker: MemoryBroker, topic: string): string[] {
  const newest = new Map<string, { readonly offset: number; readonly index: number }>();
  return broker.records(topic).map((record) => {
    const text = headerText(record, HEADERS.source) ?? "";
    const position = parsePosition(text);
    if (position === null) throw new Error(`${topic}/${record.offset} does not name its source`);
    const before = newest.get(position.topic) ?? { offset: -1, index: -1 };
    const follows =
      position.offset > before.offset
        ? position.index === 0
        : position.offset === before.offset && position.index === before.index + 1;
    if (!follows) {
      const last = `${position.topic}/${position.partition}/${before.offset}/${before.index}`;
      throw new Error(`${topic}/${record.offset} is the output of ${text}, behind that of ${last}`);
    }
    newest.set(position.topic, position);
    return Buffer.from(record.value as Uint8Array).toString();
  });
}
