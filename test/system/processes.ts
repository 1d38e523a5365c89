import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A process's number and program, for people and for comparison. */
export type Process = string;

interface Row {
  readonly pid: number;
  readonly parent: number;
  readonly process: Process;
}

/** The process and everything below it. */
export async function family(pid: number): Promise<readonly Process[]> {
  const rows = await table();
  const below = (parent: number): readonly Row[] =>
    rows.filter((row) => row.parent === parent).flatMap((row) => [row, ...below(row.pid)]);
  return [...rows.filter((row) => row.pid === pid), ...below(pid)].map(({ process }) => process);
}

/** Those that still run. */
export async function stillRunning(processes: readonly Process[]): Promise<readonly Process[]> {
  const running = new Set((await table()).map(({ process }) => process));
  return processes.filter((process) => running.has(process));
}

async function table(): Promise<readonly Row[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,stat=,comm="]);
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, state, program] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    // A zombie has ended.
    if (state === undefined || state.startsWith("Z")) return [];
    return [{ pid: Number(pid), parent: Number(parent), process: `${pid} ${program}` }];
  });
}
