/** What `npm start` runs, after `deploy/local/bootstrap.mjs` has checked and installed what is needed. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { readConfig, withHome } from "./config.ts";
import { errorText, Failure } from "./failure.ts";
import { processIo } from "./io.ts";
import { type LoopOptions, runLoop } from "./loop/run.ts";
import { connectMesh, localMesh, repository, toFailure } from "./wiring.ts";

interface Flags {
  readonly once?: true;
  readonly json?: true;
  readonly play: boolean;
  readonly speed: number;
  readonly rate?: number;
  readonly shock: LoopOptions["shock"];
  readonly down?: true;
  readonly reset?: true;
  readonly home?: string;
}

const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("It is a number above 0.");
  return value;
};
const shockTime = (text: string): LoopOptions["shock"] => {
  if (text === "off") return "off";
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new InvalidArgumentError("It is `off` or an ISO time such as 2001-01-05T00:00Z.");
  return ms;
};

const program = new Command("npm start --")
  .description(
    "Starts Kafka, MinIO, NATS and the five services on this machine, applies lines/flights, plays real events " +
      "and shows the loop live. Ctrl-C stops everything; the next start goes on from there.",
  )
  .option("--once", "end after the first complete loop: exit code 0, and a summary")
  .option("--json", "no live view; the last line on standard output is one JSON object (with --once)")
  .option("--speed <factor>", "how many times faster than real the events are played", positive, 10_000)
  .option("--rate <events>", "most events per second, whatever the speed", positive)
  .addOption(
    new Option("--shock <time>", "event time at which the world changes, or `off`")
      .argParser(shockTime)
      .default("default", "on the fifth day of a fresh stream"),
  )
  .option("--no-play", "only the mesh and the line: bring your own producer")
  .option("--down", "stop a mesh that runs in the background or in another terminal")
  .option("--reset", "stop the mesh and remove its data and logs; downloads and builds are kept")
  .option("--home <folder>", "the folder for data, logs, ports and secrets (default: .millrace)")
  .addHelpText(
    "after",
    "\nExamples\n  npm start\n  npm start -- --once --json\n  npm start -- --speed 2000 --shock 2001-01-06T12:00Z\n  npm start -- --no-play\n  npm start -- --reset",
  )
  .exitOverride();

const FORCED = 130;

async function main(): Promise<number> {
  const startedAtMs = performance.timeOrigin;
  const flags = program.parse().opts<Flags>();
  const config = withHome(readConfig(process.env), flags.home);
  const local = localMesh(config);
  const io = processIo(config.color);
  const say = (text: string): void => io.write(`${text}\n`);
  if (flags.down || flags.reset) {
    const stopped = await (flags.reset ? local.reset() : local.down());
    say(stopped.length === 0 ? "nothing was running" : `stopped ${stopped.join(", ")}`);
    if (flags.reset) say(`removed ${local.home}/data and ${local.home}/logs`);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(FORCED);
      stop.abort();
    });
  }
  return runLoop(
    {
      once: flags.once === true,
      json: flags.json === true,
      play: flags.play,
      speed: flags.speed,
      rate: flags.rate ?? null,
      shock: flags.shock,
      redraw: config.redraw,
    },
    {
      io,
      local,
      repository,
      connect: (address) => connectMesh(address, config),
      now: () => Date.now(),
      startedAtMs,
      stop: stop.signal,
    },
  );
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    if (error instanceof CommanderError) process.exit(error.exitCode);
    const failure = toFailure(error);
    const { what, remedy } = failure ?? new Failure(errorText(error), (error as Error).stack ?? "");
    if (process.argv.includes("--json")) {
      process.stderr.write(`${JSON.stringify({ error: { what, remedy } })}\n`);
    } else process.stderr.write(`\n${what}\n${remedy}\n`);
    process.exit(1);
  },
);
