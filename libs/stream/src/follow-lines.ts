import { checkLine, formatIssues, type LineDefinition } from "@millrace/lines";
import { every, type Log, sleep } from "@millrace/runtime";

/** A line as the registry has it. */
export interface AppliedLine {
  readonly line: LineDefinition;
  /** Digest of the definition. */
  readonly digest: string;
}

/** Where lines come from. */
export interface LineSource {
  list(): Promise<readonly { readonly definitionJson: string; readonly digest: string }[]>;
  /** Calls `look` when something may have changed. Announcements may be lost: the source is polled as well. */
  onChange(look: () => void): () => void;
}

export interface FollowedLines<R> {
  /** What runs now, by line name. */
  running(): ReadonlyMap<string, R>;
  /** Whether the source has been read at least once. */
  ready(): boolean;
  stop(): Promise<void>;
}

const POLL_MS = 2_000;

/**
 * Starts what runs for a line. `former` is what runs for an older definition of it: `start` stops it, when it is ready
 * to take its place. null: nothing is to run for such a line. The signal aborts when nobody follows any more.
 */
export type StartLine<R> = (applied: AppliedLine, former: R | null, signal: AbortSignal) => Promise<R | null>;

interface Followed<R> {
  readonly digest: string;
  readonly value: R | null;
}

/**
 * Keeps one `R` running per applied line: starts it when the line appears, and another in its place when its
 * definition changes; that may take its time, while other lines are followed. A start that fails is tried again with
 * the next look.
 */
export function followLines<R extends { stop(): Promise<void> }>(
  source: LineSource,
  start: StartLine<R>,
  log: Log,
): FollowedLines<R> {
  const lines = new Map<string, Followed<R>>();
  const changing = new Map<string, Promise<void>>();
  const stopped = new AbortController();
  let read = false;
  let look = new AbortController();
  const unsubscribe = source.onChange(() => look.abort());

  const change = async (applied: AppliedLine, former: R | null): Promise<void> => {
    const { line, digest } = applied;
    const value = await start(applied, former, stopped.signal);
    lines.set(line.name, { digest, value });
    log.info({ line: line.name, digest, runs: value !== null }, "line started");
  };

  const reconcile = async (): Promise<void> => {
    for (const { definitionJson, digest } of await source.list()) {
      const checked = checkLine(JSON.parse(definitionJson));
      if (!checked.ok) {
        log.error({ issues: formatIssues(checked.issues) }, "the registry holds a line that does not check");
        continue;
      }
      const { line } = checked;
      const current = lines.get(line.name);
      if (current?.digest === digest || changing.has(line.name)) continue;
      if (stopped.signal.aborted) return;
      if (current === undefined) await change({ line, digest }, null);
      else {
        log.info({ line: line.name, digest }, "line changed");
        const changed = change({ line, digest }, current.value)
          .catch((error: unknown) => {
            if (!stopped.signal.aborted) log.warn({ err: error, line: line.name }, "cannot change the line");
          })
          .finally(() => changing.delete(line.name));
        changing.set(line.name, changed);
      }
    }
    read = true;
  };

  const following = every(
    0,
    stopped.signal,
    async () => {
      look = new AbortController();
      try {
        await reconcile();
      } finally {
        await sleep(POLL_MS, AbortSignal.any([look.signal, stopped.signal]));
      }
    },
    (error) => log.warn({ err: error }, "cannot follow the lines"),
  );

  const running = (): Map<string, R> =>
    new Map([...lines].flatMap(([name, { value }]) => (value === null ? [] : [[name, value] as const])));

  return {
    running,
    ready: () => read,
    stop: async () => {
      stopped.abort();
      unsubscribe();
      await following;
      await Promise.all(changing.values());
      await Promise.all([...running().values()].map((value) => value.stop()));
      lines.clear();
    },
  };
}
