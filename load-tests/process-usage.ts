import { readdir, readFile } from "node:fs/promises";

/** Processor time and memory of some processes together. */
export interface Usage {
  /** Since each started, ended children included. */
  readonly cpuSeconds: number;
  /** The most that each has held at any time (VmHWM), added up. */
  readonly peakRssMb: number;
}

/** Of times in /proc; the same on every Linux. */
const TICKS_PER_SECOND = 100;

/** Null when none of them lives. Linux only, see proc(5); throws elsewhere. */
export async function usageOf(pids: readonly number[]): Promise<Usage | null> {
  const each = (await Promise.all(pids.map(usageOfOne))).filter((one) => one !== null);
  if (each.length === 0) return null;
  return {
    cpuSeconds: each.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    peakRssMb: each.reduce((sum, { peakRssMb }) => sum + peakRssMb, 0),
  };
}

/** What some processes hold now (VmRSS), added up, in MB. Linux only. */
export async function residentMb(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, "utf8").catch(gone)));
  return (
    each.reduce((sum, status) => sum + Number(/^VmRSS:\s*(\d+) kB$/m.exec(status ?? "")?.[1] ?? 0), 0) / 1_024
  );
}

/** The processes and all that descend from them. */
export async function withDescendants(roots: readonly number[]): Promise<number[]> {
  const pids = (await readdir("/proc").catch(noProc)).filter((name) => /^\d+$/.test(name)).map(Number);
  const stats = await Promise.all(pids.map(async (pid) => ({ pid, fields: await statFields(pid) })));
  const found = new Set(roots);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const { pid, fields } of stats) {
      if (fields !== null && found.has(Number(fields[1]))) found.add(pid);
    }
  }
  return [...found];
}

async function usageOfOne(pid: number): Promise<Usage | null> {
  const fields = await statFields(pid);
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(gone);
  const peakKb = /^VmHWM:\s*(\d+) kB$/m.exec(status ?? "")?.[1];
  if (fields === null || peakKb === undefined) return null;
  const ticks = fields.slice(11, 15).reduce((sum, one) => sum + Number(one), 0);
  return { cpuSeconds: ticks / TICKS_PER_SECOND, peakRssMb: Number(peakKb) / 1_024 };
}

/** The fields of /proc/PID/stat from the third on (state, parent, ...); null where there is no such process. */
async function statFields(pid: number): Promise<string[] | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(gone);
  return stat === null ? null : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** A process may end between two looks. */
function gone(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT" || error.code === "ESRCH") return null;
  throw error;
}

function noProc(cause: unknown): never {
  throw new Error("processor time and memory of processes are read from /proc: measure on Linux", { cause });
}
