import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { writeFileDurably } from "@millrace/runtime";
import { z } from "zod";

/** The loopback ports that an instance prefers, by what listens there. */
export const PREFERRED_PORTS = {
  kafka: 9092,
  kafkaController: 9093,
  nats: 4222,
  s3: 9000,
  registry: 9101,
  feature: 9102,
  inference: 8001,
  inferenceHttp: 8000,
  registryOps: 9201,
  ingestOps: 9202,
  featureOps: 9203,
  trainerOps: 9204,
  inferenceOps: 9205,
} as const;

/** What listens on a port of its own. */
export type PortName = keyof typeof PREFERRED_PORTS;

/** An instance's loopback ports. */
export type Ports = Readonly<Record<PortName, number>>;

const NAMES = Object.keys(PREFERRED_PORTS) as PortName[];

const PortsFile = z.object(
  // A file of an earlier time lacks what came later: the preferred one, if it is free.
  Object.fromEntries(
    NAMES.map((name) => [name, z.int().min(1).max(65_535).default(PREFERRED_PORTS[name])]),
  ) as Record<PortName, z.ZodDefault<z.ZodInt>>,
);

const portsFile = (home: string): string => join(home, "ports.json");

/**
 * The instance's ports: those of its last start, else the preferred ones (or random ones, for instances that live
 * beside others); where one is taken, a free one. Kept in `ports.json`, so that clients find them again. Call it
 * while nothing of the instance runs.
 */
export async function ensurePorts(
  home: string,
  choice: "preferred" | "random" = "preferred",
): Promise<Ports> {
  const kept = await readPorts(home);
  const ports: Record<string, number> = {};
  for (const name of NAMES) {
    const wanted = kept?.[name] ?? (choice === "preferred" ? PREFERRED_PORTS[name] : undefined);
    const usable = wanted !== undefined && !Object.values(ports).includes(wanted) && (await isFree(wanted));
    ports[name] = usable ? wanted : await freePort(Object.values(ports));
  }
  const chosen = PortsFile.parse(ports);
  await writeFileDurably(portsFile(home), `${JSON.stringify(chosen, null, 2)}\n`);
  return chosen;
}

/** The ports of the instance's last start, or undefined where it was never started. */
export async function readPorts(home: string): Promise<Ports | undefined> {
  const file = portsFile(home);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return PortsFile.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`${file} does not hold an instance's ports; remove it to have new ones chosen`, {
      cause,
    });
  }
}

/**
 * A free loopback port that is not among `taken`. From the range below the one that the system hands out for
 * outgoing connections: a port from there could be gone before the server listens, or while it restarts.
 */
async function freePort(taken: readonly number[]): Promise<number> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    const port = randomInt(10_000, 32_000);
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  throw new Error("no free port between 10000 and 32000 on 127.0.0.1; stop what holds them");
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") resolve(false);
      else reject(error);
    });
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
