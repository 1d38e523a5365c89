import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { arch, platform } from "node:os";
import { join } from "node:path";
import { type CacheEntry, type CacheOptions, ensureEntry } from "./cache.ts";
import { runCommand } from "./command.ts";
import { cacheFolder, PACKAGE } from "./config.ts";
import { rehearseKafka } from "./kafka.ts";
import { ensurePorts } from "./ports.ts";
import { ensureSecrets } from "./secrets.ts";

const HERE = `${platform()}-${arch()}`;

const GO_FLAGS = ["-mod=readonly", "-trimpath", "-ldflags=-s -w"];
const JAVAC_FLAGS = ["--release", "17", "-nowarn", "-proc:none"];

/**
 * The Go program at the module path, from the pinned go.mod and go.sum in the folder `source` and the .go files beside
 * them; unless said, the folder here of the program's name. The entry's folder holds the program under that name.
 */
export function goProgram(name: string, path: string, source: string = join(PACKAGE, name)): CacheEntry {
  return {
    name,
    how: "go build",
    inputs: async () => [
      HERE,
      path,
      ...GO_FLAGS,
      await readFile(join(source, "go.mod"), "utf8"),
      await readFile(join(source, "go.sum"), "utf8"),
      ...(await textsOf(await filesOf(source, ".go"))),
    ],
    build: async (folder) => {
      await runCommand("go", ["build", ...GO_FLAGS, "-o", join(folder, name), path], {
        cwd: source,
        env: { ...process.env, CGO_ENABLED: "0" },
      });
    },
  };
}

/**
 * A Java program: the jars that the pom.xml in the folder `source` names, each as jars.sha256 beside it says, and the
 * classes of the .java files in the folders `code`. The entry's folder holds `libs` and `classes`.
 */
export function javaProgram(name: string, source: string, code: readonly string[]): CacheEntry {
  const files = async (): Promise<string[]> =>
    (await Promise.all(code.map((folder) => filesOf(folder, ".java")))).flat().toSorted();
  return {
    name,
    how: "Maven, javac",
    inputs: async () => [
      await javacVersion(),
      ...(await jarInputs(source)),
      ...(await textsOf(await files())),
    ],
    build: async (folder) => {
      const libs = join(folder, "libs");
      await fetchJars(source, libs);
      const classes = join(folder, "classes");
      await runCommand("javac", [...JAVAC_FLAGS, "-cp", join(libs, "*"), "-d", classes, ...(await files())]);
    },
  };
}

/** Python packages as the file pins them, each with its hash. The entry's folder is for PYTHONPATH. */
export function pythonPackages(name: string, requirements: string): CacheEntry {
  return {
    name,
    how: "pip install",
    inputs: async () => [
      HERE,
      await runCommand("python3", ["--version"]),
      await readFile(requirements, "utf8"),
    ],
    build: async (folder) => {
      const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
      const pinned = ["--only-binary=:all:", "--require-hashes", `--requirement=${requirements}`];
      await runCommand("python3", [...pip, ...pinned, `--target=${folder}`]);
    },
  };
}

const NATS = goProgram("nats", "github.com/nats-io/nats-server/v2");
const MINIO = goProgram("minio", "github.com/minio/minio");
const VERSITYGW = goProgram("versitygw", "github.com/versity/versitygw/cmd/versitygw");

const KAFKA: CacheEntry = {
  name: "kafka",
  how: "Maven",
  inputs: async () => [
    await runCommand("java", ["-version"]),
    ...(await jarInputs(join(PACKAGE, "kafka"))),
    await readFile(join(PACKAGE, "kafka/log4j2.properties"), "utf8"),
  ],
  build: async (folder) => {
    await fetchJars(join(PACKAGE, "kafka"), join(folder, "libs"));
    await copyFile(join(PACKAGE, "kafka/log4j2.properties"), join(folder, "log4j2.properties"));
    const home = join(folder, "rehearsal");
    const { kafka, kafkaController } = await ensurePorts(home, "random");
    const { kafkaUsername, kafkaPassword } = await ensureSecrets(home);
    await rehearseKafka(folder, {
      home,
      port: kafka,
      controllerPort: kafkaController,
      username: kafkaUsername,
      password: kafkaPassword,
    });
    await rm(home, { recursive: true });
  },
};

const LIBRARY = platform() === "darwin" ? "lib_lightgbm.dylib" : "lib_lightgbm.so";

const LIGHTGBM: CacheEntry = {
  name: "lightgbm",
  how: "pip download",
  inputs: async () => [HERE, await readFile(join(PACKAGE, "lightgbm/requirements.txt"), "utf8")],
  build: async (folder) => {
    const wheel = join(folder, "wheel");
    await mkdir(wheel);
    const pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"];
    await runCommand("python3", [
      ...pip,
      `--dest=${wheel}`,
      `--requirement=${join(PACKAGE, "lightgbm/requirements.txt")}`,
    ]);
    const [file] = await readdir(wheel);
    if (file === undefined) throw new Error("pip download lightgbm left no wheel");
    await runCommand("python3", ["-m", "zipfile", "--extract", join(wheel, file), wheel]);
    await rename(join(wheel, "lightgbm/lib", LIBRARY), join(folder, LIBRARY));
    await rm(wheel, { recursive: true });
  },
};

type Options = Partial<CacheOptions>;

const ensure = (entry: CacheEntry, options: Options): Promise<string> =>
  ensureEntry(entry, { cache: cacheFolder(), ...options });

/** The folder of the Kafka broker, for `kafkaProcess`. Needs Maven, Java and the network once, about 20 s. */
export const ensureKafka: (options?: Options) => Promise<string> = (options = {}) => ensure(KAFKA, options);

/** The path of the nats-server program. Needs Go and the network once, about 40 s. */
export const ensureNats: (options?: Options) => Promise<string> = async (options = {}) =>
  join(await ensure(NATS, options), "nats");

/** The path of the minio program. Needs Go and the network once, about 190 s. */
export const ensureMinio: (options?: Options) => Promise<string> = async (options = {}) =>
  join(await ensure(MINIO, options), "minio");

/** The path of the versitygw program, the second S3 server of the tests. Needs Go and the network once. */
export const ensureVersitygw: (options?: Options) => Promise<string> = async (options = {}) =>
  join(await ensure(VERSITYGW, options), "versitygw");

/** The path of LightGBM's shared library for this platform. Needs python3 with pip and the network once. */
export const ensureLightgbm: (options?: Options) => Promise<string> = async (options = {}) =>
  join(await ensure(LIGHTGBM, options), LIBRARY);

/** Everything that `npm start` needs, two builds at a time. What is there already costs nothing. */
export async function ensureAll(options: Options = {}): Promise<void> {
  const waiting = [ensureMinio, ensureNats, ensureKafka, ensureLightgbm];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next(options);
  };
  await Promise.all([work(), work()]);
}

function jarInputs(source: string): Promise<string[]> {
  return textsOf(["pom.xml", "jars.sha256"].map((file) => join(source, file)));
}

/** The paths of a folder's files of one kind, in order. */
async function filesOf(folder: string, extension: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(extension));
  return names.toSorted().map((name) => join(folder, name));
}

function textsOf(files: readonly string[]): Promise<string[]> {
  return Promise.all(files.map((file) => readFile(file, "utf8")));
}

/** Fetches the jars that the pom.xml in `source` names, and holds them against jars.sha256 beside it. */
async function fetchJars(source: string, folder: string): Promise<void> {
  await runCommand("mvn", [
    "--batch-mode",
    "--quiet",
    "--no-transfer-progress",
    "--strict-checksums",
    `--file=${join(source, "pom.xml")}`,
    "dependency:copy-dependencies",
    "-DincludeScope=runtime",
    `-DoutputDirectory=${folder}`,
  ]);
  await checkDigests(folder, join(source, "jars.sha256"));
}

async function javacVersion(): Promise<string> {
  try {
    return await runCommand("javac", ["-version"]);
  } catch (cause) {
    throw new Error(
      "there is no Java compiler: install a JDK, 17 or newer (Debian: openjdk-17-jdk-headless, Homebrew: openjdk@17)",
      { cause },
    );
  }
}

/** Compares a folder's files with the lines of `sha256sum` in a file; both sides must name the same files. */
async function checkDigests(folder: string, sumsFile: string): Promise<void> {
  const expected = new Map(
    (await readFile(sumsFile, "utf8"))
      .trim()
      .split("\n")
      .map((line) => line.split(/\s+/))
      .map(([digest, file]) => [file, digest]),
  );
  const files = await readdir(folder);
  for (const file of files) {
    const digest = createHash("sha256")
      .update(await readFile(join(folder, file)))
      .digest("hex");
    if (expected.get(file) !== digest) {
      throw new Error(`${file} is not the file that ${sumsFile} names: SHA-256 ${digest}`);
    }
  }
  const missing = [...expected.keys()].filter((file) => file !== undefined && !files.includes(file));
  if (missing.length > 0) throw new Error(`Maven did not deliver ${missing.join(", ")}`);
}
