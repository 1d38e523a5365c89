import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { PlayerState } from "./snapshot.ts";

export interface PlayerOptions {
  /** The player's program, and its arguments. */
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly speed: number;
  /** Event time of the change to inject, ms; null: none. */
  readonly shockTimeMs: number | null;
  readonly now: () => number;
  /** A line for people that the player wrote to its standard error. */
  readonly onMessage: (text: string) => void;
}

export interface Player {
  state(): PlayerState;
  /** Lets the player send what it holds and keep its place; kills it after the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

/** What the player prints each second. */
interface PlayerLine {
  readonly sent: number;
  readonly departures: number;
  readonly arrivals: number;
  readonly eventTime: string | number | null;
  readonly shockAt?: string | number | null;
}

const RESTART_MS = 1_000;
const RATE_MS = 6_000;

/**
 * Runs the player as a process of its own, and again when it dies before its end: it goes on from its progress
 * file. The shock counts as sent when the player's event time first lies at or after it.
 */
export function startPlayer(options: PlayerOptions): Player {
  let state: PlayerState = {
    sent: 0,
    departures: 0,
    arrivals: 0,
    eventTimeMs: 0,
    shockTimeMs: options.shockTimeMs,
    shockedAtMs: null,
    perSecond: 0,
    speed: options.speed,
    state: "playing",
  };
  let stopping = false;
  let child: ChildProcess;
  let ended: Promise<void>;
  let lastAtMs = options.now();
  /** The player sends in bursts: its rate is that of the last seconds. */
  let recent: { readonly atMs: number; readonly sent: number }[] = [];

  const take = (line: PlayerLine): void => {
    const atMs = options.now();
    const eventTimeMs = line.eventTime === null ? state.eventTimeMs : new Date(line.eventTime).getTime();
    const shockTimeMs = line.shockAt ? new Date(line.shockAt).getTime() : state.shockTimeMs;
    const first = state.eventTimeMs === 0;
    const reached = shockTimeMs !== null && eventTimeMs >= shockTimeMs;
    const passed = reached && !first && state.eventTimeMs < shockTimeMs;
    const share = passed ? (shockTimeMs - state.eventTimeMs) / (eventTimeMs - state.eventTimeMs) : 1;
    recent = [...recent.filter((one) => atMs - one.atMs <= RATE_MS), { atMs, sent: line.sent }];
    state = {
      ...state,
      sent: line.sent,
      departures: line.departures,
      arrivals: line.arrivals,
      eventTimeMs,
      shockTimeMs,
      // Between two lines the event time grows evenly.
      shockedAtMs: state.shockedAtMs ?? (passed ? Math.round(lastAtMs + share * (atMs - lastAtMs)) : null),
      perSecond: rateOf(recent),
      state: "playing",
    };
    lastAtMs = atMs;
  };

  const run = (): void => {
    // A group of its own: a Ctrl-C in the terminal reaches it when its turn to stop has come.
    child = spawn(options.program, options.args, {
      env: options.env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (child.stdout) {
      createInterface(child.stdout).on("line", (text) => {
        const line = parse(text);
        if (line !== null) take(line);
      });
    }
    if (child.stderr) createInterface(child.stderr).on("line", options.onMessage);
    ended = new Promise((resolve) => {
      child.once("error", (error) => {
        options.onMessage(error.message);
        resolve();
      });
      child.once("close", (code) => {
        const next = stopping ? "stopped" : code === 0 ? "ended" : "restarting";
        state = { ...state, perSecond: 0, state: next };
        recent = [];
        if (next === "restarting") {
          options.onMessage(`the player ended with code ${code}; it starts again`);
          setTimeout(() => {
            if (!stopping) run();
          }, RESTART_MS);
        }
        resolve();
      });
    });
  };
  run();

  return {
    state: () => state,
    stop: async (deadlineMs) => {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
      await ended;
      clearTimeout(force);
    },
  };
}

function rateOf(recent: readonly { readonly atMs: number; readonly sent: number }[]): number {
  const [first, last] = [recent[0], recent.at(-1)];
  if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
  return Math.max(0, ((last.sent - first.sent) * 1_000) / (last.atMs - first.atMs));
}

function parse(text: string): PlayerLine | null {
  try {
    const line = JSON.parse(text) as Partial<PlayerLine>;
    return typeof line.sent === "number" ? (line as PlayerLine) : null;
  } catch {
    return null;
  }
}
