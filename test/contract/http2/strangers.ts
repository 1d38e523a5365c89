import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import {
  type CacheEntry,
  cacheFolder,
  ensureEntry,
  goProgram,
  javaProgram,
  progressLine,
  pythonPackages,
  runCommand,
} from "@millrace/local";

const HERE = import.meta.dirname;

const H2SPEC = goProgram("h2spec", "github.com/summerwind/h2spec/cmd/h2spec", join(HERE, "h2spec"));
const GRPCURL = goProgram(
  "grpcurl",
  "github.com/fullstorydev/grpcurl/cmd/grpcurl",
  join(HERE, "../../system/grpcurl"),
);
const GO_CLIENT = goProgram("http2-go-client", ".", join(HERE, "go-client"));
const JAVA_CLIENT = javaProgram("http2-java-client", join(HERE, "java-client"), [join(HERE, "java-client")]);
const GRPCIO = pythonPackages("grpcio", join(HERE, "requirements.txt"));

const ensure = (entry: CacheEntry): Promise<string> =>
  ensureEntry(entry, {
    cache: cacheFolder(),
    onProgress: (progress) => void process.stdout.write(`${progressLine(progress)}\n`),
  });

/** Programs that others wrote, or that stand on what others wrote. Each answers what it printed, or throws it. */
export interface Strangers {
  h2spec(port: number, isTls: boolean): Promise<string>;
  grpcurl(
    port: number,
    method: string,
    requests: readonly unknown[],
    options?: readonly string[],
  ): Promise<string>;
  go(port: number): Promise<string>;
  java(port: number): Promise<string>;
  python(port: number): Promise<string>;
}

/** The strangers, built into the user's cache folder where they are missing: about 3 minutes once. */
export async function ensureStrangers(): Promise<Strangers> {
  const h2spec = join(await ensure(H2SPEC), "h2spec");
  const grpcurl = join(await ensure(GRPCURL), "grpcurl");
  const go = join(await ensure(GO_CLIENT), "http2-go-client");
  const java = await ensure(JAVA_CLIENT);
  const packages = await ensure(GRPCIO);
  const files = ["-plaintext", `-import-path=${HERE}`, "-proto=echo.proto"];
  const jvm = [
    "-Xmx256m",
    "-XX:TieredStopAtLevel=1",
    "-cp",
    `${join(java, "classes")}:${join(java, "libs")}/*`,
  ];
  return {
    h2spec: (port, isTls) =>
      runCommand(h2spec, ["--strict", `--port=${port}`, ...(isTls ? ["--tls", "--insecure"] : [])]),
    grpcurl: (port, method, requests, options = []) => {
      const body = `-d=${requests.map((request) => JSON.stringify(request)).join("\n")}`;
      const call = [`127.0.0.1:${port}`, `millrace.test.v1.Echo/${method}`];
      return runCommand(grpcurl, [...files, ...options, body, ...call]);
    },
    go: (port) => runCommand(go, [String(port)]),
    java: (port) => runCommand("java", [...jvm, "Client", String(port)]),
    python: (port) =>
      runCommand("python3", ["-s", join(HERE, "grpcio_client.py"), String(port)], {
        env: { ...process.env, PYTHONPATH: packages },
      }),
  };
}

export interface ServerProcess {
  readonly port: number;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

/** server.ts as a process. */
export async function startServer(...files: readonly string[]): Promise<ServerProcess> {
  const child = spawn(process.execPath, [join(HERE, "server.ts"), "0", ...files], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [port] = (await once(child.stdout, "data")) as [Buffer];
  return {
    port: Number(port),
    process: child,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, "close");
      child.kill("SIGTERM");
      await closed;
    },
  };
}

/** A certificate for loopback that signs itself, in two files of the folder; also for clients. */
export async function certificate(folder: string): Promise<{ readonly cert: string; readonly key: string }> {
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  const names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  await runCommand("openssl", [...request, ...names, "-keyout", key, "-out", cert]);
  return { cert, key };
}
