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
 * Keeps one `R` running per applied line: starts it when the line appears, stops it and starts another when its
 * definition changes. A start that fails is tried again with the next look.
 */
export function followLines<R extends { stop(): Promise<void> }>(
  source: LineSource,
  start: (applied: AppliedLine) => Promise<R>,
  log: Log,
): FollowedLines<R> {
  const running = new Map<string, { readonly digest: string; readonly value: R }>();
  const stopped = new AbortController();
  let read = false;
  let look = new AbortController();
  const unsubscribe = source.onChange(() => look.abort());

  const reconcile = async (): Promise<void> => {
    for (const { definitionJson, digest } of await source.list()) {
      const checked = checkLine(JSON.parse(definitionJson));
      if (!checked.ok) {
        log.error({ issues: formatIssues(checked.issues) }, "the registry holds a line that does not check");
        continue;
      }
      const { line } = checked;
      const current = running.get(line.name);
      if (current?.digest === digest) continue;
      if (current !== undefined) {
        log.info({ line: line.name, digest }, "line changed");
        running.delete(line.name);
        await current.value.stop();
      }
      if (stopped.signal.aborted) return;
      running.set(line.name, { digest, value: await start({ line, digest }) });
      log.info({ line: line.name, digest }, "line started");
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

  return {
    running: () => new Map([...running].map(([name, { value }]) => [name, value])),
    ready: () => read,
    stop: async () => {
      stopped.abort();
      unsubscribe();
      await following;
      await Promise.all([...running.values()].map(({ value }) => value.stop()));
      running.clear();
    },
  };
}
