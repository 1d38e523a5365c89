import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  cacheFolder,
  ensureEntry,
  goProgram,
  progressLine,
  pythonPackages,
  REPOSITORY,
  runCommand,
} from "@millrace/local";

const HERE = import.meta.dirname;
const GRPCURL = "grpcurl";

const PYTHON_PACKAGES = pythonPackages("tritonclient", join(HERE, "requirements.txt"));

const GRPCURL_PROGRAM = goProgram(
  GRPCURL,
  "github.com/fullstorydev/grpcurl/cmd/grpcurl",
  join(HERE, GRPCURL),
);

/** Clients that others wrote and that know of Millrace only the Open Inference Protocol. */
export interface Strangers {
  /**
   * One call by grpcurl with the protocol's own .proto file; `method` such as `ModelInfer`. Answers the response as
   * JSON. Throws what grpcurl printed when the call fails.
   */
  grpcurl(port: number, method: string, request: unknown): Promise<Readonly<Record<string, unknown>>>;
  /** Lets tritonclient call the champion of `model` from two threads, until it is stopped. */
  startLoad(port: number, model: string, stopFile: string): Load;
}

export interface Load {
  /** Ends it after the calls under way, and answers what tritonclient-load.py counted. */
  stop(): Promise<LoadSummary>;
  /** Ends it whatever it does. */
  kill(): void;
}

export interface LoadSummary {
  readonly calls: number;
  readonly failed: number;
  /** Answers, by the version that gave them. */
  readonly versions: Readonly<Record<string, number>>;
  readonly errors: readonly string[];
}

/** The strangers, built into the user's cache folder where they are missing: about 2 minutes once. */
export async function ensureStrangers(): Promise<Strangers> {
  const options = {
    cache: cacheFolder(),
    onProgress: (progress: Parameters<typeof progressLine>[0]) =>
      void process.stdout.write(`${progressLine(progress)}\n`),
  };
  const packages = await ensureEntry(PYTHON_PACKAGES, options);
  const program = join(await ensureEntry(GRPCURL_PROGRAM, options), GRPCURL);
  return {
    grpcurl: async (port, method, request) => {
      const definition = [
        `-import-path=${join(REPOSITORY, "proto")}`,
        "-proto=inference/open_inference.proto",
      ];
      const body = ["-plaintext", "-max-time=10", `-d=${JSON.stringify(request)}`];
      const call = [`127.0.0.1:${port}`, `inference.GRPCInferenceService/${method}`];
      return JSON.parse(await runCommand(program, [...definition, ...body, ...call]));
    },
    startLoad: (port, model, stopFile) => startLoad(packages, port, model, stopFile),
  };
}

/** Two callers that rest a little: what is wanted is a client at all times, not a measurement of its rate. */
function startLoad(packages: string, port: number, model: string, stopFile: string): Load {
  const script = ["-s", join(HERE, "tritonclient-load.py"), `--url=127.0.0.1:${port}`, `--model=${model}`];
  const pace = ["--threads=2", "--pause-ms=5", "--seconds=1800", `--stop-file=${stopFile}`];
  const child = spawn("python3", [...script, ...pace], {
    env: { ...process.env, PYTHONPATH: packages },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const ended = once(child, "close");
  return {
    stop: async () => {
      await writeFile(stopFile, "");
      await ended;
      return JSON.parse(output) as LoadSummary;
    },
    kill: () => void child.kill("SIGKILL"),
  };
}
