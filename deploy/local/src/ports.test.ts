import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensurePorts, PREFERRED_PORTS, readPorts } from "./ports.ts";

let home: string;
let listening: Server[];
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "millrace-ports-"));
  listening = [];
});
afterEach(async () => {
  await Promise.all(listening.map((server) => new Promise((resolve) => server.close(resolve))));
  await rm(home, { recursive: true });
});

async function occupy(port: number): Promise<void> {
  const server = createServer();
  listening.push(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
}

describe("ensurePorts", () => {
  it("prefers the known ports and moves away from taken ones only", async () => {
    // Another program may really hold one of them: then it is moved like the one taken here.
    await occupy(PREFERRED_PORTS.inferenceOps).catch(() => {});
    const ports = await ensurePorts(home);
    expect(ports.inferenceOps).not.toBe(PREFERRED_PORTS.inferenceOps);
    for (const [name, port] of Object.entries(ports)) {
      if (port === PREFERRED_PORTS[name as keyof typeof PREFERRED_PORTS]) continue;
      await expect(occupy(port)).resolves.toBeUndefined();
    }
  });

  it("keeps its ports, and gives up those that are taken meanwhile", async () => {
    const first = await ensurePorts(home, "random");
    expect(await readPorts(home)).toEqual(first);
    expect(await ensurePorts(home)).toEqual(first);
    await occupy(first.nats);
    const second = await ensurePorts(home);
    expect(second.nats).not.toBe(first.nats);
    expect({ ...second, nats: 0 }).toEqual({ ...first, nats: 0 });
    expect(await readPorts(home)).toEqual(second);
  });

  it("never gives one port to two names", async () => {
    const ports = Object.values(await ensurePorts(home, "random"));
    expect(new Set(ports).size).toBe(ports.length);
  });

  it("refuses a damaged file by name", async () => {
    await writeFile(join(home, "ports.json"), '{ "kafka": "x" }');
    await expect(ensurePorts(home)).rejects.toThrow("ports.json does not hold");
  });
});
