/** `start`: what `npm start` runs, after the bootstrap has checked and installed what is needed. */
import type { Context } from "../context.ts";
import type { Result } from "../io.ts";
import { type LoopOptions, runLoop } from "../loop/run.ts";
import type { Clients, MeshAddress } from "../mesh.ts";

export interface StartOptions {
  readonly once?: true;
  readonly play: boolean;
  readonly speed: number;
  readonly rate?: number;
  readonly shock: LoopOptions["shock"];
  readonly down?: true;
  readonly reset?: true;
}

export async function start(
  context: Context,
  options: StartOptions,
  connect: (address: MeshAddress) => Clients,
  startedAtMs: number,
): Promise<Result> {
  const { local, config } = context;
  if (options.down || options.reset) {
    const stopped = await (options.reset ? local.reset() : local.down());
    const removed = options.reset ? [`${local.home}/data`, `${local.home}/logs`] : [];
    return {
      json: { stopped, removed },
      text: [
        stopped.length === 0 ? "nothing was running" : `stopped ${stopped.join(", ")}`,
        ...(removed.length === 0 ? [] : [`removed ${removed.join(" and ")}`]),
      ].join("\n"),
    };
  }
  const end = await runLoop(
    {
      once: options.once === true,
      json: context.json,
      play: options.play,
      speed: options.speed,
      rate: options.rate ?? null,
      shock: options.shock,
      redraw: config.redraw,
    },
    {
      io: context.io,
      local,
      repository: context.repository,
      connect,
      now: context.now,
      startedAtMs,
      stop: context.stop,
    },
  );
  if (end === null) return { json: null, text: "" };
  const { report, problem } = end;
  if (problem === null) return { json: report, text: "" };
  const { what, remedy } = problem;
  if (!context.json) context.io.writeError(`${what}\n${remedy}\n`);
  return { json: { ...report, problem: { what, remedy } }, text: "", exitCode: 1 };
}
