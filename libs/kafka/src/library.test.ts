import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { createLog, sleep } from "@millrace/runtime";
import { expect, it } from "vitest";
import { Library } from "./library.ts";

const settings = { clientId: "test", sasl: null, tls: null, log: createLog("test", "silent") };

/** Accepts connections, and never says a word. */
async function silentServer(host: string): Promise<{ port: number; sockets: Socket[]; stop(): void }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  const stop = (): void => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: typeof address === "object" && address !== null ? address.port : 0, sockets, stop };
}

const addresses = Object.values(networkInterfaces()).flatMap((all) =>
  (all ?? []).map(({ address }) => address),
);
const loopback = ["127.0.0.1", "::1"].filter((address) => addresses.includes(address));

it.each(loopback)(
  "ends what kafkajs has under way at %s at once, and lets it begin nothing",
  async (host) => {
    const server = await silentServer(host);
    const library = new Library({ ...settings, brokers: [{ host, port: server.port }] });
    const admin = library.kafka.admin();
    const connecting = admin.connect().then(
      () => "connected",
      () => "failed",
    );
    while (server.sockets.length === 0) await sleep(5);
    const endedAtMs = performance.now();
    library.end();
    expect(await connecting).toBe("failed");
    await expect(admin.connect()).rejects.toThrow();
    expect(performance.now() - endedAtMs).toBeLessThan(1_000);
    await sleep(100);
    expect(server.sockets).toHaveLength(1);
    server.stop();
  },
);
