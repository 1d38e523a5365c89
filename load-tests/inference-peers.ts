/** Other model servers, installed from `peers/inference/` on demand, which serve the same model on the same core. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { arch, platform, tmpdir } from "node:os";
import { join } from "node:path";
import { type CacheEntry, cacheFolder, ensureEntry, progressLine, runCommand } from "@millrace/local";
import type { Context } from "./claim.ts";
import type { TestModel } from "./models.ts";
import { answers, freePorts, type PinnedProcess, SERVER_CORE, startPinned } from "./pinned-process.ts";

export interface InferencePeer {
  /** For people. */
  readonly name: string;
  /** Of its requirements, and of its program before `_peer.py`. */
  readonly program: "mlserver" | "kserve" | "pytriton";
  readonly batching: boolean;
}

export const MLSERVER: InferencePeer = { name: "MLServer", program: "mlserver", batching: false };
export const MLSERVER_BATCHING: InferencePeer = {
  name: "MLServer, adaptive batching",
  program: "mlserver",
  batching: true,
};
export const KSERVE: InferencePeer = { name: "KServe", program: "kserve", batching: false };
export const PYTRITON: InferencePeer = { name: "pytriton", program: "pytriton", batching: true };

/** MLServer at its best, as recorded with Triton's figures below: for where it cannot be installed. */
export const MLSERVER_RECORDED = 2_090;

/**
 * Triton with an onnxruntime backend in C, dynamic batching, on the same machine at 64 calls in flight. The wheel that can
 * be had has only the Python backend, so these figures are of 2026-11-23 and not of this run.
 */
export const TRITON_RECORDED: { readonly perSecond: number; readonly p99: number } = {
  perSecond: 14_460,
  p99: 6.7,
};

const PEERS = join(import.meta.dirname, "peers/inference");

const installed = (program: InferencePeer["program"]): CacheEntry => {
  const requirements = join(PEERS, `${program}.txt`);
  return {
    name: `peer-${program}`,
    how: "pip install",
    inputs: async () => [
      `${platform()}-${arch()}`,
      await runCommand("python3", ["--version"]),
      await readFile(requirements, "utf8"),
    ],
    build: async (folder) => {
      await runCommand("python3", ["-m", "venv", folder]);
      const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
      const pinned = ["--only-binary=:all:", "--require-hashes", `--requirement=${requirements}`];
      await runCommand(join(folder, "bin/python3"), [...pip, ...pinned]);
    },
  };
};

/** The peers' Pythons by program; where one cannot be installed here, says why and leaves it out. */
export async function ensurePeers(
  programs: readonly InferencePeer["program"][],
  { say }: Pick<Context, "say">,
): Promise<ReadonlyMap<InferencePeer["program"], string>> {
  const pythons = new Map<InferencePeer["program"], string>();
  for (const program of programs) {
    try {
      const folder = await ensureEntry(installed(program), {
        cache: cacheFolder(),
        onProgress: (progress) => say(progressLine(progress)),
      });
      pythons.set(program, join(folder, "bin/python3"));
    } catch (error) {
      say(`${program} cannot be installed here: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return pythons;
}

/** Starts a peer over the model, and stops it when `use` has ended. */
export async function withPeer<T>(
  { name, program, batching }: InferencePeer,
  python: string,
  model: TestModel,
  stop: AbortSignal,
  use: (peer: PinnedProcess & { readonly port: number }, stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-peer-"));
  try {
    const file = join(folder, "model.onnx");
    await writeFile(file, model.bytes);
    const [port, http, metrics] = (await freePorts(3)) as [number, number, number];
    const ports = [`--grpc-port=${port}`, `--http-port=${http}`, `--metrics-port=${metrics}`];
    const started = await startPinned(
      {
        name,
        command: python,
        args: [
          "-m",
          `${program}_peer`,
          `--name=${model.name}`,
          `--model=${file}`,
          ...ports,
          ...(batching ? ["--batching"] : []),
        ],
        env: { PYTHONPATH: PEERS, PYTHONDONTWRITEBYTECODE: "1" },
        core: SERVER_CORE,
        ready: () => answers(`http://127.0.0.1:${http}/v2/models/${model.name}/ready`),
      },
      stop,
    );
    try {
      return await use({ ...started, port }, AbortSignal.any([stop, started.failed]));
    } finally {
      await started.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
