import { createServer } from "node:net";
import { createLog } from "@millrace/runtime";
import { describe, expect, it } from "vitest";
import { createAnnouncer } from "./index.ts";

const log = createLog("test", "silent");

/** A port of this machine on which nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("announcer without NATS", () => {
  it("takes announcements and subscriptions, drops them, and stops at once", async () => {
    const announcer = createAnnouncer({ url: `127.0.0.1:${await deadPort()}`, token: "t", log });
    const end = announcer.subscribe("a.b", () => {});
    announcer.publish("a.b", { line: "flights" }, "");
    expect(announcer.connected()).toBe(false);
    end();
    const startedAt = performance.now();
    await announcer.stop();
    await announcer.stop();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("stops in bounded time while a server accepts and says nothing", async () => {
    const server = createServer((socket) => void socket.on("error", () => {}));
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
    });
    const accepted = new Promise((resolve) => server.once("connection", resolve));
    const announcer = createAnnouncer({ url: `127.0.0.1:${port}`, token: undefined, log });
    await accepted;
    announcer.publish("a", {});
    await announcer.stop();
    expect(announcer.connected()).toBe(false);
    server.close();
  });
});
