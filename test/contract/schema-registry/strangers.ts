import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  type CacheEntry,
  cacheFolder,
  ensureEntry,
  progressLine,
  pythonPackages,
  runCommand,
} from "@millrace/local";
import { sleep } from "@millrace/runtime";

const HERE = import.meta.dirname;
const POM = join(HERE, "pom.xml");
const REGISTRY_SHA256 = "d88014c1addff1fc585e1e9510fc41276473726340f4e0997353b46342d3532b";

const REGISTRY: CacheEntry = {
  name: "apicurio-registry",
  how: "Maven",
  inputs: async () => [await readFile(POM, "utf8"), REGISTRY_SHA256],
  build: async (folder) => {
    const quiet = ["--batch-mode", "--quiet", "--no-transfer-progress", "--strict-checksums"];
    const copy = ["dependency:copy", `-DoutputDirectory=${folder}`];
    await runCommand("mvn", [...quiet, `--file=${POM}`, ...copy]);
    const zip = join(folder, (await readdir(folder)).find((file) => file.endsWith(".zip")) as string);
    const hash = createHash("sha256");
    await pipeline(createReadStream(zip), hash);
    const found = hash.digest("hex");
    if (found !== REGISTRY_SHA256) throw new Error(`${zip} has SHA-256 ${found}, not ${REGISTRY_SHA256}`);
    await runCommand("python3", ["-m", "zipfile", "--extract", zip, folder]);
    await rm(zip);
  },
};

const SERIALISERS = pythonPackages("confluent-kafka", join(HERE, "requirements.txt"));

const ensure = (entry: CacheEntry): Promise<string> =>
  ensureEntry(entry, {
    cache: cacheFolder(),
    onProgress: (progress) => void process.stdout.write(`${progressLine(progress)}\n`),
  });

/** A schema registry of others. */
export interface Registry {
  /** Of its interface that is like Confluent's. */
  readonly url: string;
  stop(): Promise<void>;
}

const START_MS = 240_000;
const STOP_MS = 10_000;

/** Apicurio Registry on loopback, with its schemas in memory; about 6 s. Fetched into the user's cache folder once. */
export async function startRegistry(): Promise<Registry> {
  const folder = await ensure(REGISTRY);
  const jar = (await readdir(folder)).find((file) => file.endsWith("-runner.jar")) as string;
  const port = await freePort();
  const child = spawn("java", ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", join(folder, jar)], {
    env: { PATH: process.env["PATH"], QUARKUS_HTTP_HOST: "127.0.0.1", QUARKUS_HTTP_PORT: String(port) },
    stdio: "ignore",
  });
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  const deadline = Date.now() + START_MS;
  while (!(await answers(`${url}/schemas/types`))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await end(child);
      throw new Error("the schema registry did not start");
    }
    await sleep(100);
  }
  return { url, stop: () => end(child) };
}

/** What produce.py is told. */
export interface ProduceTask {
  readonly brokers: string;
  readonly username: string;
  readonly password: string;
  readonly registry: string;
  readonly topics: { readonly avro: string; readonly protobuf: string; readonly json: string };
  readonly atMs: number;
}

/** Lets Confluent's own serialisers write records, right and wrong ones: see produce.py. Throws when it fails. */
export async function produce(task: ProduceTask): Promise<void> {
  const packages = await ensure(SERIALISERS);
  const child = spawn("python3", ["-s", join(HERE, "produce.py")], {
    env: { PATH: process.env["PATH"], PYTHONPATH: packages },
    stdio: ["pipe", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  child.stdin.end(JSON.stringify(task));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`produce.py ended with ${code}:\n${said}`);
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(1_000) }).then(
    (response) => response.ok,
    () => false,
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await closed;
  clearTimeout(timer);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
