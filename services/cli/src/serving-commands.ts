import { type Command, Option } from "commander";
import { positive, share, wholeNumber } from "./arguments.ts";
import { explain } from "./commands/explain.ts";
import { type AddModelOptions, addModel } from "./commands/model-commands.ts";
import { type QuantiseOptions, quantiseVersion } from "./commands/quantise-command.ts";
import {
  endRollout,
  rolloutStatus,
  type StartRolloutOptions,
  setShare,
  startRollout,
} from "./commands/rollout-commands.ts";
import { rollback, type VersionsOptions, versions } from "./commands/version-commands.ts";
import type { Context } from "./context.ts";
import type { Result } from "./io.ts";

/** Adds a command with the options that all have, its examples, and its work. */
export type AddCommand = (
  parent: Command,
  usage: string,
  description: string,
  examples: readonly string[],
  run: (context: Context, args: readonly unknown[]) => Promise<Result>,
  add?: (command: Command) => Command,
) => void;

/** The commands about what serves: versions, imported models and rollouts. */
export function addServingCommands(program: Command, command: AddCommand): void {
  command(
    program,
    "versions <line>",
    "List versions with their evidence; or what served",
    [
      "npx millrace versions flights",
      "npx millrace versions flights --history",
      "npx millrace versions flights --at 2026-11-23T14:05:00Z",
    ],
    (context, [line, options]) => versions(context, line as string, options as VersionsOptions),
    (made) =>
      made
        .option("--history", "every change of what served, newest first")
        .option("--at <time>", "what served at this time (wall clock, ISO)"),
  );
  command(
    program,
    "rollback <line>",
    "Make an earlier version champion again: the one before, or the one named",
    ['npx millrace rollback flights --to 2 --reason "version 3 is wrong about Denver"'],
    (context, [line, options]) =>
      rollback(context, line as string, options as { to?: number; reason: string }),
    (made) =>
      made
        .option("--to <version>", "the version (default: the champion before this one)", wholeNumber)
        .option("--reason <text>", "why; kept in the history", "by hand"),
  );

  command(
    program,
    "explain <line> <prediction>",
    "Show what a prediction rests on and what was live then, and compute it once more",
    ["npx millrace explain flights me-1", "npx millrace explain flights me-1 --json"],
    (context, [line, id]) => explain(context, line as string, id as string),
  );

  const models = program
    .command("models")
    .description("Serve models that were made elsewhere, or of a version")
    .addHelpText("after", "\nExample\n  npx millrace models add embedder minilm.onnx --promote");
  command(
    models,
    "add <line> <file>",
    "Inspect an ONNX model, sign it, and register it as a version; a line with features takes only models of its own contract",
    [
      "npx millrace models add embedder minilm.onnx --promote",
      'npx millrace models add flights tuned.onnx --note "tuned by hand, ticket 4711"',
    ],
    (context, [line, file, options]) =>
      addModel(context, line as string, file as string, options as AddModelOptions),
    (made) =>
      made
        .option("--promote", "make it champion at once")
        .option("--note <text>", "why it may serve; kept with the version", "no reason given"),
  );

  command(
    models,
    "quantise <line>",
    "Make a version with int8 weights of another, and register it with how their answers differ; exit code 1 if too much",
    ["npx millrace models quantise flights 4", "npx millrace models quantise embedder 1 --tolerance 0.05"],
    (context, [line, version, options]) =>
      quantiseVersion(context, line as string, version as number, options as QuantiseOptions),
    (made) =>
      made
        .argument("<version>", "a version that passed, as `versions` lists it", wholeNumber)
        .option("--promote", "make it champion at once, if it passes")
        .option("--tolerance <number>", "how far an answer may be from the version's own", positive, 0.01),
  );

  const rollout = program
    .command("rollout")
    .description("Let a version answer a share of the requests before it answers all")
    .addHelpText(
      "after",
      "\nExample\n  npx millrace rollout start flights 4 --share 0.1\n  npx millrace rollout end flights --promote",
    );
  command(
    rollout,
    "start <line>",
    "Make a version that passed the challenger of the champion; what is not said is as the line's `rollout` says",
    [
      "npx millrace rollout start flights 4",
      'npx millrace rollout start flights 4 --strategy ab --share 0.5 --by entity --reason "new encoder"',
    ],
    (context, [line, version, options]) =>
      startRollout(context, line as string, version as number, options as StartRolloutOptions),
    (made) =>
      made
        .argument("<version>", "a version that passed, as `versions` lists it", wholeNumber)
        .option("--share <share>", "the challenger's share of the requests", share)
        .addOption(
          new Option("--strategy <strategy>", "a small share to see no harm, or parts to compare").choices([
            "canary",
            "ab",
          ]),
        )
        .addOption(
          new Option("--by <unit>", "what is divided: single requests, or entities as a whole").choices([
            "request",
            "entity",
          ]),
        )
        .option("--reason <text>", "why; kept in the history", "by hand"),
  );
  command(
    rollout,
    "share <line>",
    "Give the challenger another share of the requests",
    ["npx millrace rollout share flights 0.3"],
    (context, [line, given, options]) =>
      setShare(context, line as string, given as number, options as { reason: string }),
    (made) =>
      made
        .argument("<share>", "of the requests, above 0 and below 1", share)
        .option("--reason <text>", "why; kept in the history", "by hand"),
  );
  command(
    rollout,
    "end <line>",
    "End the rollout: promote the challenger, or let the champion answer alone again",
    [
      "npx millrace rollout end flights --promote",
      'npx millrace rollout end flights --rollback --reason "slower"',
    ],
    (context, [line, options]) =>
      endRollout(context, line as string, options as { promote?: true; rollback?: true; reason: string }),
    (made) =>
      made
        .option("--promote", "the challenger becomes champion")
        .option("--rollback", "the champion answers alone again")
        .option("--reason <text>", "why; kept in the history", "by hand"),
  );
  command(
    rollout,
    "status <line>",
    "Show the rollout that runs: who answers what share, since when, and what the labels say so far",
    ["npx millrace rollout status flights"],
    (context, [line]) => rolloutStatus(context, line as string),
  );
}
