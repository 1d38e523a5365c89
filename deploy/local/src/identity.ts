import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "@millrace/runtime";

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in the system's own words: clock ticks since boot, or a date. */
  readonly start: string;
}

/** The identity of a living process, undefined where there is none; a zombie counts as dead. */
export function identify(pid: number): ProcessIdentity | undefined {
  const start = process.platform === "linux" ? startOnLinux(pid) : startByPs(pid);
  return start === undefined ? undefined : { pid, start };
}

/** Whether this very process still lives. */
export function lives(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.start === identity.start;
}

/** Fields 3 (state) and 22 (start time) of /proc/PID/stat, see proc(5); a restart of the machine is told by its id. */
function startOnLinux(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    return `${fields[19]} ${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

function startByPs(pid: number): string | undefined {
  const { stdout } = spawnSync("ps", ["-o", "lstart=,stat=", "-p", String(pid)], { encoding: "utf8" });
  const [, start, state] = /^(.*\S)\s+(\S+)\s*$/.exec(stdout.trim()) ?? [];
  return state === undefined || state.startsWith("Z") ? undefined : start;
}

const runFolder = (home: string): string => join(home, "run");
const pidFile = (home: string, name: string): string => join(runFolder(home), `${name}.pid`);

/** Notes down that the process runs for the instance under the name; at once, so that no kill comes in between. */
export function notePid(home: string, name: string, identity: ProcessIdentity): void {
  mkdirSync(runFolder(home), { recursive: true, mode: 0o700 });
  writeFileSync(pidFile(home, name), `${identity.pid} ${identity.start}\n`, { mode: 0o600 });
}

/** Takes the note away. */
export async function forgetPid(home: string, name: string): Promise<void> {
  await rm(pidFile(home, name), { force: true });
}

/** Who is noted under the name, living or dead. */
export async function notedPid(home: string, name: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(pidFile(home, name), "utf8").catch(() => "");
  const [, pid, start] = /^(\d+) (.+)$/.exec(text.trim()) ?? [];
  return pid === undefined || start === undefined ? undefined : { pid: Number(pid), start };
}

/** The names of which the instance has a note. */
export async function notedNames(home: string): Promise<string[]> {
  const files = await readdir(runFolder(home)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return files.filter((file) => file.endsWith(".pid")).map((file) => file.slice(0, -".pid".length));
}

const TERM_MS = 10_000;
const POLL_MS = 50;

/**
 * Stops what a killed supervisor left running: each noted process that is provably the one noted, with its process
 * group, by SIGTERM and after ten seconds by SIGKILL. Hold the instance's lock. Answers the names stopped.
 */
export async function stopLeftovers(home: string): Promise<string[]> {
  const stopped = await Promise.all(
    (await notedNames(home)).map(async (name) => {
      const left = await notedPid(home, name);
      const alive = left !== undefined && left.pid !== process.pid && lives(left);
      if (alive) await stopGroup(left);
      await forgetPid(home, name);
      return alive ? [name] : [];
    }),
  );
  return stopped.flat();
}

async function stopGroup(leader: ProcessIdentity): Promise<void> {
  signalGroup(leader.pid, "SIGTERM");
  for (const endMs = performance.now() + TERM_MS; performance.now() < endMs && lives(leader); ) {
    await sleep(POLL_MS);
  }
  signalGroup(leader.pid, "SIGKILL");
  while (lives(leader)) await sleep(POLL_MS);
}

/** Signals a process group by its leader's number; an empty group is no error. */
export function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
