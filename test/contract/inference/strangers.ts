import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type CacheEntry,
  cacheFolder,
  ensureEntry,
  goProgram,
  progressLine,
  pythonPackages,
  REPOSITORY,
  runCommand,
} from "@millrace/local";

const run = promisify(execFile);
const HERE = import.meta.dirname;

const GRPCURL = goProgram(
  "grpcurl",
  "github.com/fullstorydev/grpcurl/cmd/grpcurl",
  join(REPOSITORY, "test/system/grpcurl"),
);
const PYTHON_PACKAGES = pythonPackages("inference-clients", join(HERE, "requirements.txt"));

const ensure = (entry: CacheEntry): Promise<string> =>
  ensureEntry(entry, {
    cache: cacheFolder(),
    onProgress: (progress) => void process.stdout.write(`${progressLine(progress)}\n`),
  });

/** Clients that others wrote, and that know nothing of Millrace. Each throws what it printed when it fails. */
export interface Strangers {
  /** One of the Python programs of this folder; answers the JSON that it printed. `any`: it is what is tested. */
  python(script: string, ...args: readonly string[]): Promise<any>;
  /** One call with the protocol's own .proto file, `service/method`; answers the response. */
  grpcurl(port: number, method: string, request: unknown): Promise<any>;
}

/** The strangers, built into the user's cache folder where they are missing: about 2 minutes and 500 MB once. */
export async function ensureStrangers(): Promise<Strangers> {
  const packages = await ensure(PYTHON_PACKAGES);
  const grpcurl = join(await ensure(GRPCURL), "grpcurl");
  return {
    python: async (script, ...args) => {
      const env = { ...process.env, PYTHONPATH: packages };
      const { stdout } = await run("python3", ["-s", join(HERE, script), ...args], { env });
      return JSON.parse(stdout);
    },
    grpcurl: async (port, method, request) => {
      const files = ["inference/open_inference.proto", "inference/model_repository.proto"];
      const protos = [`-import-path=${join(REPOSITORY, "proto")}`, ...files.map((file) => `-proto=${file}`)];
      const options = ["-plaintext", "-max-time=10", `-d=${JSON.stringify(request)}`];
      return JSON.parse(await runCommand(grpcurl, [...protos, ...options, `127.0.0.1:${port}`, method]));
    },
  };
}
