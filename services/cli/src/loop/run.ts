/**
 * What `npm start` does: mesh, line, player, and the loop shown live, until Ctrl-C or (`--once`) the first complete
 * loop. Reads top to bottom in the order in which things happen.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LiveQuality } from "@millrace/contracts";
import { canonicalJson, sourceTopic } from "@millrace/contracts";
import { every, sleep, writeFileDurably } from "@millrace/runtime";
import { errorText, Failure } from "../failure.ts";
import type { Io } from "../io.ts";
import { loadLine } from "../line-file.ts";
import type { Clients, Local, MeshAddress, Part, RunningMesh } from "../mesh.ts";
import { count, durationText } from "../text.ts";
import type { Swap } from "./details.ts";
import { type Observer, observeLine } from "./observer.ts";
import { newLines, stateLine } from "./plain.ts";
import { type Player, startPlayer } from "./player.ts";
import { openScreen, type Screen } from "./screen.ts";
import type { Snapshot } from "./snapshot.ts";
import {
  type Counts,
  type Equation,
  equations,
  type LoopReport,
  loopReport,
  reportLines,
} from "./summary.ts";
import { type Facts, type Loop, STAGES } from "./timeline.ts";
import { renderView } from "./view.ts";

export interface LoopOptions {
  readonly once: boolean;
  readonly json: boolean;
  readonly play: boolean;
  readonly speed: number;
  /** Most events per second; null: as the speed says. */
  readonly rate: number | null;
  /** off, an event time in ms, or the default: where the progress file has it, else FIRST_SHOCK. */
  readonly shock: "default" | "off" | number;
  /** The terminal may be redrawn. */
  readonly redraw: boolean;
}

export interface LoopPorts {
  readonly io: Io;
  readonly local: Local;
  readonly repository: string;
  readonly connect: (address: MeshAddress) => Clients;
  readonly now: () => number;
  /** Wall clock at which the command began. */
  readonly startedAtMs: number;
  /** Aborts when the user wants to stop. */
  readonly stop: AbortSignal;
}

const LINE = "lines/flights";
/** Four days into the stream: by then the first trained model has served for about two. */
const FIRST_SHOCK = Date.parse("2001-01-06T00:00:00Z");
const DEADLINE_MS = 10 * 60_000;
const SETTLE_MS = 90_000;
const REFRESH_MS = 500;
const STATE_LINE_MS = 5_000;
/** Labels on the new champion's own predictions, before its quality counts as measured. */
const LABELS_AFTER = 3_000;

/**
 * Runs until the signal aborts (answers null) or, with `once`, until the loop is complete or late: answers its
 * report, and what is wrong with it. The mesh is down again when this ends.
 */
export async function runLoop(options: LoopOptions, ports: LoopPorts): Promise<LoopEnd | null> {
  const { io, local, now, startedAtMs, stop } = ports;
  const say = (text: string): void => (options.json ? io.writeError(`${text}\n`) : io.write(`${text}\n`));
  const screen: Screen | null = io.terminal && options.redraw && !options.json ? openScreen(io) : null;
  const stages: Record<string, number> = {};
  const reached = (name: string): void => {
    stages[name] ??= now() - startedAtMs;
  };
  let parts: readonly Part[] = [];
  let doing = "";
  let ending = false;
  let mesh: RunningMesh | undefined;
  let clients: Clients | undefined;
  let observer: Observer | undefined;
  let player: Player | undefined;
  let shock: Shock = { eventTimeMs: null, atMs: null };
  let before: Snapshot | null = null;
  let stateLineAtMs = 0;
  let window: LiveQuality | null = null;

  const show = (): Snapshot => {
    const view = { parts, player: player?.state() ?? null, shock: asFact(shock), startedAtMs, doing };
    const snapshot = observer?.snapshot(view) ?? early(view, now());
    if (screen !== null) screen.draw(renderView(snapshot, io.columns(), io.rows() - 1, io.color));
    else {
      newLines(before, snapshot).forEach(say);
      if (observer !== undefined && doing === "" && now() - stateLineAtMs >= STATE_LINE_MS) {
        stateLineAtMs = now();
        say(stateLine(snapshot));
      }
    }
    before = snapshot;
    return snapshot;
  };
  const begin = (what: string): void => {
    doing = what;
    show();
  };

  try {
    // 1. Servers and services.
    begin("starting the servers and services");
    const starting = local.start((all) => {
      const ended = all.filter(({ name, state }) => state === "stopped" && stateOf(parts, name) !== state);
      parts = all;
      if (!ending) show();
      else for (const { name } of ended) say(`  ${name} stopped`);
    }, begin);
    mesh = await orStopped(starting, stop);
    if (mesh === undefined) return null;
    parts = mesh.status();
    reached("startMs");
    if (stop.aborted) return null;
    const address = await local.address();
    if (address === null) throw new Error("the mesh runs, but its address is not known");
    clients = ports.connect(address);

    // 2. The line.
    begin(`applying ${LINE}`);
    const { line } = await loadLine(join(ports.repository, LINE), ports.repository);
    await applyWhenReady(clients, canonicalJson(line), stop);
    const topics = Object.values(line.streams).map(({ topic }) => sourceTopic(topic));
    await clients.broker.ensureTopics(topics, line.partitions);
    reached("applyMs");

    // 3. The watch, then the player: nothing that happens goes unseen.
    const notesFile = join(local.home, "data", "loop.json");
    const notes = await readNotes(notesFile);
    shock = chooseShock(options, notes.shock);
    observer = await observeLine(line, address, clients, {
      now,
      swaps: notes.swaps,
      // Kafka may be down for a while: the screen shows it, and what is written meanwhile is read later.
      onProblem: (error) => (screen === null ? say(`topics: ${errorText(error)}`) : undefined),
    });
    const keepNotes = notesKeeper(notesFile);
    await observer.refresh();
    const predictionsBefore = observer.predictions();
    if (options.play) {
      player = startPlayer({
        program: process.execPath,
        args: playerArguments(options, ports.repository, local.home, shock),
        env: mesh.environment,
        speed: options.speed,
        shockTimeMs: shock.eventTimeMs,
        now,
        onMessage: (text) => (screen === null ? say(`player: ${text}`) : undefined),
      });
    }
    doing = "";

    // 4. Watch the loop.
    const watching = observer;
    const enough = new AbortController();
    let problem: Failure | null = null;
    await every(
      REFRESH_MS,
      AbortSignal.any([stop, enough.signal]),
      async () => {
        doing = "";
        await watching.refresh();
        parts = mesh?.status() ?? parts;
        shock = { ...shock, atMs: shock.atMs ?? player?.state().shockedAtMs ?? null };
        await keepNotes({ shock, swaps: watching.facts(null).swaps });
        if (watching.predictions() > predictionsBefore) reached("firstPredictionMs");
        if (watching.aliases()["first"] !== undefined) reached("firstModelMs");
        const { loop } = show();
        if (loop.state !== "complete") window = watching.quality()?.window ?? window;
        if (!options.once) return;
        const missing = whatIsMissing(loop, watching);
        if (missing === null) return enough.abort();
        if (now() - startedAtMs > DEADLINE_MS) {
          problem = new Failure(
            `no complete loop within ${durationText(DEADLINE_MS)}: ${missing}`,
            `Look into ${join(local.home, "logs")}, or run \`npx millrace status\` while it goes on.`,
          );
          enough.abort();
        }
      },
      (error) => {
        doing = errorText(error);
      },
    );
    if (stop.aborted) return null;

    // 5. The end of --once: let everything arrive, then do the sums.
    doing = "the player stops; waiting until everything under way has arrived";
    show();
    await player?.stop(10_000);
    const counts = await settledCounts(watching, line.predict.on, stop);
    const snapshot = show();
    screen?.close();
    const sums = equations(counts, line.predict.on);
    const report = loopReport({
      loop: snapshot.loop,
      stages,
      counts,
      before: window,
      after: watching.quality()?.byVersion[String(snapshot.loop.version)] ?? null,
      facts: watching.facts(asFact(shock)),
      versions: watching.versions(),
      aliases: watching.aliases(),
      lineDigest: await lineDigest(clients, line.name),
      equations: sums,
    });
    reportLines(report).forEach(say);
    return { report, problem: problem ?? sumsProblem(sums) };
  } finally {
    ending = true;
    screen?.close();
    if (mesh !== undefined) say("stopping");
    await player?.stop(10_000);
    await observer?.stop().catch(() => {});
    await clients?.close().catch(() => {});
    await mesh?.stop();
    if (mesh !== undefined) say("stopped; `npm start` goes on from here");
  }
}

function stateOf(parts: readonly Part[], name: string): string | undefined {
  return parts.find((part) => part.name === name)?.state;
}

/** What `--once` found. */
export interface LoopEnd {
  readonly report: LoopReport;
  /** null: the loop is complete and the counts add up. */
  readonly problem: Failure | null;
}

function sumsProblem(sums: readonly Equation[]): Failure | null {
  const wrong = sums.filter(({ holds }) => !holds);
  if (wrong.length === 0) return null;
  return new Failure(
    `the counts do not add up: ${wrong.map(({ text, left, right }) => `${text} (${left}, ${right})`).join("; ")}`,
    "The services' logs have the cause.",
  );
}

const START_PATIENCE_MS = 20_000;

/**
 * The result, or undefined when the signal aborted and the result did not come soon after: what was started by then
 * is ended by the mesh's keeper once this process has gone.
 */
async function orStopped<T>(starting: Promise<T>, stop: AbortSignal): Promise<T | undefined> {
  const late = new Promise<undefined>((resolve) => {
    stop.addEventListener("abort", () => void sleep(START_PATIENCE_MS).then(() => resolve(undefined)));
  });
  return Promise.race([starting, late]);
}

interface Shock {
  readonly eventTimeMs: number | null;
  /** Wall clock at which the player sent it; null: not yet. */
  readonly atMs: number | null;
}

function asFact(shock: Shock): Facts["shock"] {
  return shock.eventTimeMs === null ? null : { eventTimeMs: shock.eventTimeMs, atMs: shock.atMs };
}

/** What must be known after a restart and is written down nowhere else. */
interface Notes {
  readonly shock: Shock | null;
  readonly swaps: readonly Swap[];
}

async function readNotes(file: string): Promise<Notes> {
  const text = await readFile(file, "utf8").catch(() => null);
  return text === null ? { shock: null, swaps: [] } : (JSON.parse(text) as Notes);
}

/** Writes the notes whenever they have changed. */
function notesKeeper(file: string): (notes: Notes) => Promise<void> {
  let kept = "";
  return async (notes) => {
    const text = `${JSON.stringify(notes)}\n`;
    if (text === kept) return;
    await writeFileDurably(file, text);
    kept = text;
  };
}

/** The shock that was chosen when the stream began stays, unless the user names another. */
function chooseShock(options: LoopOptions, kept: Shock | null): Shock {
  if (!options.play || options.shock === "off") return { eventTimeMs: null, atMs: null };
  const eventTimeMs = options.shock === "default" ? (kept?.eventTimeMs ?? FIRST_SHOCK) : options.shock;
  return { eventTimeMs, atMs: kept?.eventTimeMs === eventTimeMs ? kept.atMs : null };
}

function playerArguments(options: LoopOptions, repository: string, home: string, shock: Shock): string[] {
  return [
    // The Kafka client sets timers in the past, and SQLite is said to be experimental.
    "--disable-warning=TimeoutNegativeWarning",
    "--disable-warning=ExperimentalWarning",
    join(repository, LINE, "play.ts"),
    "--speed",
    String(options.speed),
    "--progress",
    join(home, "data", "player.json"),
    ...(options.rate === null ? [] : ["--rate", String(options.rate)]),
    ...(shock.eventTimeMs === null ? [] : [`--shock=${new Date(shock.eventTimeMs).toISOString()}`]),
  ];
}

/** A service that serves may still be away for a moment; a definition that does not check is an error at once. */
async function applyWhenReady(clients: Clients, definitionJson: string, stop: AbortSignal): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await clients.registry.applyLine({ definitionJson });
      return;
    } catch (error) {
      if (tries >= 20 || stop.aborted) throw error;
      await sleep(500, stop);
    }
  }
}

async function lineDigest(clients: Clients, name: string): Promise<string> {
  const { lines } = await clients.registry.listLines({});
  return lines.find((line) => line.name === name)?.digest ?? "";
}

/** What `--once` still waits for; null: nothing. */
function whatIsMissing(loop: Loop, observer: Observer): string | null {
  const open = loop.stages.find(({ atMs }) => atMs === null);
  if (loop.state === "ended") return "the candidate was not better than the champion, and no later one yet";
  if (loop.state !== "complete") return `the loop has not reached "${open?.name ?? STAGES[0]}"`;
  const rows = observer.quality()?.byVersion[String(loop.version)]?.rows ?? 0;
  return rows >= LABELS_AFTER
    ? null
    : `${count(rows)} of ${count(LABELS_AFTER)} labels have matured on predictions of version ${loop.version}`;
}

/** Counts once nothing is under way: no lag twice in a row and the sums unchanged; or those of the last look. */
async function settledCounts(observer: Observer, predictOn: string, stop: AbortSignal): Promise<Counts> {
  let last = "";
  for (let waitedMs = 0; ; waitedMs += REFRESH_MS) {
    await observer.refresh();
    const counts = await observer.counts();
    const idle = Object.values(observer.lag()).every((records) => records === 0);
    const addUp = equations(counts, predictOn).every(({ holds }) => holds);
    const now = JSON.stringify(counts);
    if ((idle && addUp && now === last) || waitedMs >= SETTLE_MS || stop.aborted) return counts;
    last = now;
    await sleep(REFRESH_MS, stop);
  }
}

/** Before there is a line to watch. */
function early(
  view: { parts: readonly Part[]; startedAtMs: number; doing: string },
  nowMs: number,
): Snapshot {
  return {
    nowMs,
    startedAtMs: view.startedAtMs,
    zoneOffsetMinutes: new Date(nowMs).getTimezoneOffset(),
    doing: view.doing,
    parts: view.parts,
    line: { name: "flights", title: "More than 15 minutes late?" },
    player: null,
    counts: { sent: 0, accepted: 0, rejected: 0, featured: 0, predicted: 0, labelled: 0 },
    acceptedPerSecond: 0,
    lag: {},
    streamTimeMs: 0,
    champion: null,
    firstVersion: null,
    quality: { window: null, champion: null },
    drift: null,
    decisions: [],
    training: null,
    verdict: null,
    swap: null,
    loop: {
      stages: STAGES.map((name) => ({ name, atMs: null })),
      report: null,
      decision: null,
      runId: null,
      version: null,
      state: "waiting",
    },
  };
}
