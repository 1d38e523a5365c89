/**
 * What `npm start`, `npm test`, `npm run check` and `npm run prove` call, on whatever Node (20 or newer) the
 * machine has: checks what must be there, installs the packages where they are missing or others than the lock
 * file names, and goes on under the pinned Node. Exit codes: 2 something is missing, else that of the
 * program it hands over to. Plain JavaScript without imports of ours, because nothing is installed yet.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Script and arguments of each command; the user's own arguments follow. */
const COMMANDS = {
  start: { servers: true, run: ["services/cli/src/main.ts", "start"] },
  test: { servers: true, run: ["test/check.ts", "--all"] },
  check: { servers: false, run: ["test/check.ts"] },
  prove: { servers: true, run: ["load-tests/prove.ts"] },
  // For `millrace doctor`: only looks.
  prerequisites: { servers: true, run: null },
};

const [name = "", ...userArguments] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
if (command === undefined) {
  say(`unknown command "${name}": use one of ${Object.keys(COMMANDS).join(", ")}`);
  process.exit(2);
}

const missing = await missingPrerequisites(command.servers);
if (missing.length > 0) {
  say(`this machine lacks what Millrace needs:\n${missing.map((line) => `  ${line}`).join("\n")}`);
  process.exit(2);
}
if (command.run !== null) {
  await installPackages();
  const flags = ["--disable-warning=TimeoutNegativeWarning", "--disable-warning=ExperimentalWarning"];
  process.exitCode = await hand(pinnedNode(), [...flags, ...command.run, ...userArguments]);
}

function say(text) {
  process.stderr.write(`millrace: ${text}\n`);
}

/** One line for each thing that is missing or too old, with its remedy. */
async function missingPrerequisites(servers) {
  if (process.platform !== "linux" && process.platform !== "darwin") {
    return [`Linux or macOS (this is ${process.platform}); on Windows use WSL`];
  }
  const remedy = (apt, brew) =>
    process.platform === "linux" ? `sudo apt-get install ${apt}` : `brew install ${brew}`;
  const major = Number(process.versions.node.split(".")[0]);
  const checks = [
    Promise.resolve(
      major >= 20
        ? undefined
        : `Node 20 or newer (found ${process.versions.node}): https://nodejs.org/en/download`,
    ),
    version(
      "npm",
      ["--version"],
      /^(\d+)/m,
      [10],
      "npm 10 or newer",
      "comes with Node: https://nodejs.org/en/download",
    ),
  ];
  // Servers of others that the environment names need nothing to be built here.
  const { MILLRACE_KAFKA_BROKERS, MILLRACE_NATS_URL, MILLRACE_S3_URL } = process.env;
  if (servers && !(name === "start" && MILLRACE_KAFKA_BROKERS)) {
    checks.push(
      version(
        "java",
        ["-version"],
        /version "(\d+)/,
        [17],
        "Java 17 or newer",
        remedy("openjdk-17-jre-headless", "openjdk@17"),
      ),
      // Only whether it is there: asking it for its version starts a Java of its own.
      presence("/bin/sh", ["-c", "command -v mvn"], "Maven", remedy("maven", "maven")),
    );
  }
  if (servers && !(name === "start" && MILLRACE_NATS_URL && MILLRACE_S3_URL)) {
    checks.push(
      version("go", ["version"], /go(\d+)\.(\d+)/, [1, 24], "Go 1.24 or newer", "https://go.dev/doc/install"),
    );
  }
  if (servers) {
    checks.push(
      presence(
        "python3",
        ["-c", "import importlib.util as u, sys; sys.exit(u.find_spec('pip') is None)"],
        "python3 with pip",
        remedy("python3-pip", "python"),
      ),
    );
  }
  return (await Promise.all(checks)).filter((line) => line !== undefined);
}

/** Undefined when the program is there and new enough, else the line that says what to do. */
async function version(program, args, pattern, least, wanted, remedy) {
  const { code, output } = await capture(program, args);
  const found = code === 0 ? pattern.exec(output)?.slice(1).map(Number) : undefined;
  if (found === undefined) return `${wanted}: ${remedy}`;
  const differing = least.findIndex((number, index) => found[index] !== number);
  const enough = differing === -1 || found[differing] > least[differing];
  return enough ? undefined : `${wanted} (found ${found.join(".")}): ${remedy}`;
}

/** Undefined when the command succeeds, else the line that says what to do. */
async function presence(program, args, wanted, remedy) {
  const { code } = await capture(program, args);
  return code === 0 ? undefined : `${wanted}: ${remedy}`;
}

function capture(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.once("error", () => resolve({ code: 127, output }));
    child.once("close", (code) => resolve({ code, output }));
  });
}

/**
 * Installs what the lock file names, unless it is there. Not by `npm ci`: that insists on lock entries for the
 * binaries of every platform, and registries that serve only some platforms leave gaps there, which it refuses.
 * `--no-save` leaves the lock file as it is.
 */
async function installPackages() {
  if (installed()) return;
  say("installing packages (npm install)");
  const startMs = Date.now();
  const seconds = () => Math.round((Date.now() - startMs) / 1000);
  const ticking = setInterval(() => say(`installing packages (npm install), ${seconds()} s`), 5_000);
  const code = await hand("npm", ["install", "--no-save", "--no-progress", "--loglevel=error"]);
  clearInterval(ticking);
  if (code !== 0) {
    say(`npm install failed with code ${code}; the lines above say why`);
    process.exit(code);
  }
  say(`packages installed in ${seconds()} s`);
}

/**
 * Compares the lock file with the record that npm keeps of node_modules (`node_modules/.package-lock.json`, written
 * last, so that an interrupted installation has none). Packages for other platforms are rightly absent.
 */
function installed() {
  const record = join(ROOT, "node_modules/.package-lock.json");
  if (!existsSync(record)) return false;
  const there = JSON.parse(readFileSync(record, "utf8")).packages;
  const wanted = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  return Object.entries(wanted).every(
    ([path, { version, integrity, link, optional, peer }]) =>
      !path.startsWith("node_modules/") ||
      (there[path] === undefined
        ? Boolean(optional || peer)
        : there[path].version === version &&
          there[path].integrity === integrity &&
          there[path].link === link),
  );
}

/** The Node that the packages bring for this platform; else this one, if it is new enough. */
function pinnedNode() {
  const pinned = join(ROOT, `node_modules/node-${process.platform}-${process.arch}/bin/node`);
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split(".")[0]) >= 24) return process.execPath;
  say(
    `there is no pinned Node for ${process.platform}-${process.arch}: install Node 24, https://nodejs.org/en/download`,
  );
  process.exit(2);
}

/** Hands terminal and signals to a program and answers its exit code, 128 + n after signal n. */
async function hand(program, args) {
  const child = spawn(program, args, { cwd: ROOT, stdio: "inherit" });
  // In a terminal, Ctrl-C reaches the whole foreground group by itself; twice would mean "at once" to the child.
  const interrupt = () => process.stdin.isTTY || child.kill("SIGINT");
  const terminate = () => child.kill("SIGTERM");
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", terminate);
  const code = await new Promise((resolve) => {
    child.once("error", (error) => {
      say(`${program}: ${error.message}`);
      resolve(127);
    });
    child.once("exit", (exit, signal) => resolve(exit ?? 128 + constants.signals[signal]));
  });
  process.off("SIGINT", interrupt);
  process.off("SIGTERM", terminate);
  return code;
}
