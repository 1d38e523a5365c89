/**
 * The `millrace` command: every command with its options and help. `createProgram` is the package's door; tests hold
 * it with their own terminal and mesh.
 */
import { availableParallelism } from "node:os";
import { Command, CommanderError, Option } from "commander";
import { isoTime, positive, shockTime, wholeNumber } from "./arguments.ts";
import { type DatasetOptions, writeDataset } from "./commands/dataset-command.ts";
import { doctor } from "./commands/doctor.ts";
import { env } from "./commands/env.ts";
import { getFeatures, type VerifyOptions, verifyFeatures } from "./commands/features-commands.ts";
import { apply, lines } from "./commands/line-commands.ts";
import { down, up, upDetached } from "./commands/mesh-commands.ts";
import { predict } from "./commands/predict.ts";
import {
  type ListOptions,
  listRejected,
  type ReplayOptions,
  replayRejected,
  showRejected,
} from "./commands/rejected-commands.ts";
import { type StartOptions, start } from "./commands/start.ts";
import { status, watchStatus } from "./commands/status.ts";
import { types } from "./commands/types-command.ts";
import { type CliConfig, withHome } from "./config.ts";
import { createContext, toFailure } from "./context.ts";
import { errorText, Failure } from "./failure.ts";
import { type Io, type Result, toJson } from "./io.ts";
import { WrongLineError } from "./line-file.ts";
import type { Clients, Local, MeshAddress } from "./mesh.ts";
import { type AddCommand, addServingCommands } from "./serving-commands.ts";

export interface CliPorts {
  readonly io: Io;
  readonly config: CliConfig;
  readonly repository: string;
  readonly localMesh: (config: CliConfig) => Local;
  readonly connectMesh: (address: MeshAddress, config: CliConfig) => Clients;
  /** A refusal of the local mesh as a Failure; null: something else. */
  readonly meshFailure: (error: unknown) => Failure | null;
  readonly now: () => number;
  /** Wall clock at which the process began. */
  readonly startedAtMs: number;
  readonly stop: AbortSignal;
  /** How this program is called again in the background: script and flags for the same Node. */
  readonly self: readonly string[];
}

/** Runs one command line (without program names) and answers its exit code. Never throws. */
export async function runCli(argv: readonly string[], ports: CliPorts): Promise<number> {
  const { io } = ports;
  const wantsJson = argv.includes("--json");
  let exitCode = 0;
  const program = createProgram(ports, (result, json) => {
    if (json) io.write(result.json === null ? "" : `${toJson(result.json)}\n`);
    else if (result.text !== "") io.write(`${result.text}\n`);
    exitCode = result.exitCode ?? 0;
  });
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const { what, remedy } = explain(error, ports);
    if (wantsJson) {
      const issues = error instanceof WrongLineError ? { issues: error.issues } : {};
      io.writeError(`${toJson({ error: { what, remedy, ...issues } })}\n`);
    } else io.writeError(`${what}\n${remedy}\n`);
    return error instanceof CommanderError ? 2 : 1;
  }
}

function explain(error: unknown, { meshFailure, config }: CliPorts): { what: string; remedy: string } {
  if (error instanceof CommanderError) {
    const [what, ...rest] = error.message.replace(/^error: /, "").split("\n");
    const hint = rest.join(" ").trim();
    return {
      what: what ?? "",
      remedy: `${hint === "" ? "" : `${hint} `}See \`npx millrace --help\`, or --help after a command.`,
    };
  }
  const failure = meshFailure(error) ?? toFailure(error, config.environment["MILLRACE_HOME"] ?? ".millrace");
  return failure ?? { what: errorText(error), remedy: stackOf(error) };
}

/** A defect of ours: where it happened is what a report needs. */
function stackOf(error: unknown): string {
  const stack = error instanceof Error ? error.stack : undefined;
  return `This is a defect in millrace; please report it with these lines:\n${stack ?? String(error)}`;
}

function createProgram(ports: CliPorts, print: (result: Result, json: boolean) => void): Command {
  const { io } = ports;
  const program = new Command("millrace")
    .description("Events in on Kafka, better models out on gRPC, without anyone in between.")
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeOut: (text) => io.write(text), writeErr: () => {}, getOutHelpWidth: () => 100 })
    .addHelpText("after", OVERVIEW);

  /** A command with the options that all have, its example, and its work. */
  const command: AddCommand = (parent, usage, description, examples, run, add = (same) => same) => {
    const made = parent
      .command(usage)
      .description(description)
      .option("--home <folder>", "the mesh's folder (default: MILLRACE_HOME, else .millrace)")
      .option("--json", "one JSON document on standard output, errors as JSON on standard error");
    add(made);
    made.addHelpText("after", `\nExample\n${examples.map((line) => `  ${line}`).join("\n")}`);
    made.action(async (...args: unknown[]) => {
      const options = made.opts<{ home?: string; json?: boolean }>();
      const config = withHome(ports.config, options.home);
      const json = options.json === true;
      const context = createContext(
        {
          io,
          config,
          local: ports.localMesh(config),
          repository: ports.repository,
          json,
          now: ports.now,
          stop: ports.stop,
        },
        (address) => ports.connectMesh(address, config),
      );
      // commander passes the arguments, the options and the command itself.
      print(await run(context, args.slice(0, -1)), json);
    });
  };

  command(
    program,
    "up",
    "Start Kafka, MinIO, NATS and the services on this machine; Ctrl-C stops them",
    ["npx millrace up", "npx millrace up --detach"],
    (context, [options]) =>
      (options as { detach?: true }).detach ? upDetached(context, ports.self) : up(context),
    (made) => made.option("-d, --detach", "in the background: return when every service is ready"),
  );
  command(program, "down", "Stop the mesh, whoever started it", ["npx millrace down"], down);
  command(
    program,
    "start",
    "What `npm start` runs: mesh, example line, real events, and the loop shown live",
    [
      "npm start",
      "npm start -- --once --json",
      "npm start -- --speed 2000 --shock 2001-01-06T12:00Z",
      "npm start -- --no-play",
      "npm start -- --reset",
    ],
    (context, [options]) =>
      start(
        context,
        options as StartOptions,
        (address) => ports.connectMesh(address, context.config),
        ports.startedAtMs,
      ),
    (made) =>
      made
        .option("--once", "end after the first complete loop, with a summary; exit code 1 after 10 minutes")
        .option("--speed <factor>", "how many times faster than real events are played", positive, 10_000)
        .option("--rate <events>", "most events per second, whatever the speed", positive)
        .addOption(
          new Option("--shock <time>", "event time at which the world changes, or `off`")
            .argParser(shockTime)
            .default("default", "on the sixth day of a fresh stream"),
        )
        .option("--no-play", "only mesh and line: bring your own producer")
        .option("--down", "stop the mesh that runs in the background or in another terminal")
        .option("--reset", "stop the mesh and remove its data and logs; downloads and builds are kept"),
  );
  command(
    program,
    "apply <line>",
    "Check a line and put it in force; a wrong one is refused with the path of each field",
    ["npx millrace apply lines/flights", "npx millrace apply lines/flights --check"],
    (context, [path, options]) =>
      apply(context, path as string, (options as { check?: true }).check === true),
    (made) => made.option("--check", "only check it; needs no mesh"),
  );
  command(program, "lines", "List the lines, their topics and champions", ["npx millrace lines"], lines);
  command(
    program,
    "status [line]",
    "Show services, counts, lag, champion, quality, drift, last decision and last run",
    ["npx millrace status", "npx millrace status flights --watch", "npx millrace status --json"],
    (context, [line, options]) => {
      const watch = (options as { watch?: true }).watch === true;
      if (watch && context.json) throw new Failure("--watch and --json exclude each other", "Leave one out.");
      return (watch ? watchStatus : status)(context, line as string | undefined);
    },
    (made) => made.option("-w, --watch", "draw it again each second"),
  );
  command(
    program,
    "predict <line> [event]",
    "Ask the champion: an event as JSON (- reads standard input), features as the stream has them now",
    [
      `npx millrace predict flights '{"flight":"me-1","due":"2001-01-06T17:30:00Z","origin":"ORD","destination":"LGA","distance":733}'`,
      "npx millrace predict flights - < event.json",
      "npx millrace predict flights --features '[17,6,733,0.2,0.2,0.2,30,8,null,0.2,0.2,9,0.2,0.2,0.2,0.2,0.2]'",
    ],
    (context, [line, event, options]) => {
      const { features, version } = options as { features?: string; version?: string };
      return predict(context, line as string, { event: event as string | undefined, features, version });
    },
    (made) =>
      made
        .option("--features <json>", "the feature vector itself, null where a value is not known")
        .option("--version <number>", "another version than the champion, if the node has it loaded"),
  );
  addServingCommands(program, command);
  command(
    program,
    "types <line>",
    "Write the line's events, entity and features as TypeScript, for applications with @millrace/client",
    ["npx millrace types flights --out src/flights.ts"],
    (context, [line, options]) => types(context, line as string, (options as { out?: string }).out),
    (made) => made.option("--out <file>", "the file to write (default: standard output)"),
  );

  const features = program
    .command("features")
    .description("See an entity's features now, verify those that were served, and make training sets")
    .addHelpText(
      "after",
      `\nExample\n  npx millrace features get flights '{"origin":"ORD"}'\n  npx millrace features verify flights`,
    );
  command(
    features,
    "get <line> <entity>",
    "Show the vector of an entity now: JSON with the key fields of the stream predicted on, others as known",
    [`npx millrace features get flights '{"origin":"ORD","destination":"LGA"}'`],
    (context, [line, entity]) => getFeatures(context, line as string, entity as string),
  );
  command(
    features,
    "verify <line>",
    "Compute vectors again from the archive and compare them with those served, bit for bit; exit code 1 if some differ",
    ["npx millrace features verify flights", "npx millrace features verify flights --all --json"],
    (context, [line, options]) => verifyFeatures(context, line as string, options as VerifyOptions),
    (made) =>
      made
        .option("--events <number>", "the newest archived events of each partition", wholeNumber, 20_000)
        .option("--all", "every archived event whose vector is still on its topic"),
  );

  command(
    features,
    "dataset <line>",
    "Write a training set out of the archive as Parquet: the line's examples, or the vectors of questions",
    [
      "npx millrace features dataset flights --out examples.parquet",
      "npx millrace features dataset flights --out then.parquet --known-at 2026-11-01T00:00Z",
      "npx millrace features dataset payments --out set.parquet --questions labels.csv",
      "npx millrace features dataset payments --out set.parquet --questions asked.parquet --order acceptance --counted",
      "",
      "A file of questions (Parquet or CSV) has a row for each vector: columns with the names of the fields of",
      "the stream predicted on, its time and key fields among them, others as far as known; in order of",
      "acceptance also known_at, by when (wall clock) events had to be accepted. Its own columns, for example",
      "a label, are kept beside the features. Times are ISO texts with a zone, timestamps, or ms.",
    ],
    (context, [line, options]) => writeDataset(context, line as string, options as DatasetOptions),
    (made) =>
      made
        .requiredOption("--out <file>", "the Parquet file to write")
        .option("--questions <file>", "vectors as of the times in this Parquet or CSV file")
        .addOption(
          new Option(
            "--order <order>",
            "which events a question sees: those up to its time, or those accepted by then",
          )
            .choices(["event-time", "acceptance"])
            .default("event-time"),
        )
        .option("--known-at <time>", "leave out what was accepted later (wall clock)", isoTime)
        .option("--from <time>", "only rows of this event time and later", isoTime)
        .option("--until <time>", "only rows before this event time", isoTime)
        .option("--counted", "each question is an event that comes now, and counts in its own windows")
        .option("--prefix <text>", "before the names of the features in the file", "")
        .option(
          "--threads <number>",
          "partitions replayed side by side",
          wholeNumber,
          availableParallelism(),
        ),
  );

  const rejected = program
    .command("rejected")
    .description("See refused events, and send them again corrected")
    .addHelpText(
      "after",
      "\nExample\n  npx millrace rejected list flights\n  npx millrace rejected replay flights --at 0/17 --set delay=12",
    );
  command(
    rejected,
    "list <line>",
    "List the newest rejections, and how many there are for each reason",
    ["npx millrace rejected list flights --reason not-json --limit 5"],
    (context, [line, options]) => listRejected(context, line as string, options as ListOptions),
    (made) =>
      made
        .option("--reason <code>", "only this reason")
        .option("--limit <number>", "how many to show", wholeNumber, 20),
  );
  command(
    rejected,
    "show <line> <at>",
    "Show one rejection whole: reason, remedy, where it was, key, headers and value",
    ["npx millrace rejected show flights 0/17"],
    (context, [line, at]) => showRejected(context, line as string, at as string),
  );
  command(
    rejected,
    "replay <line>",
    "Send rejections again, corrected, to the topic they came from; an event replayed twice counts once",
    [
      "npx millrace rejected replay flights --at 0/17 --set delay=12",
      "npx millrace rejected replay flights --reason wrong-type --drop distance --set distance=733 --dry-run",
      "npx millrace rejected replay flights --at 0/18 --value corrected.json",
      "npx millrace rejected replay flights --at 0/19 --set-header ce_specversion=1.0",
    ],
    (context, [line, options]) => replayRejected(context, line as string, options as ReplayOptions),
    (made) =>
      made
        .option("--at <place...>", "PARTITION/OFFSET in the rejected topic, as `list` shows it")
        .option("--reason <code>", "every rejection with this reason")
        .option("--all", "every rejection")
        .option("--set <field=value...>", "set a field (dots reach inside); JSON, else text")
        .option("--drop <field...>", "remove a field")
        .option("--value <file>", "the corrected value as a whole")
        .option("--key <text>", "another record key")
        .option("--set-header <name=value...>", "set a record header")
        .option("--drop-header <name...>", "remove a record header")
        .option("--dry-run", "show what would be sent"),
  );
  command(
    program,
    "doctor",
    "Check what is reachable and what is not, and say what to do; exit code 1 if something is wrong",
    ["npx millrace doctor", "npx millrace doctor --json"],
    doctor,
  );
  command(
    program,
    "env",
    "Print addresses for a producer or client of your own; secrets only when asked",
    ["npx millrace env", 'eval "$(npx millrace env --show-secrets)"'],
    (context, [options]) => env(context, (options as { showSecrets?: true }).showSecrets === true),
    (made) => made.option("--show-secrets", "with the passwords and tokens"),
  );
  return program;
}

const OVERVIEW = `
A first round
  npm start                              the mesh, real events, and the loop live
  npx millrace status --watch            the same from another terminal
  npx millrace versions flights          what was trained, and why it serves or not
  npx millrace doctor                    when something does not work

Exit codes: 0 done, 1 failed or found something wrong, 2 wrong usage.`;
