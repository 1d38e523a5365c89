import { connect } from "node:net";
import { startTestServers, type TestServers } from "@millrace/local";
import { type Announcer, createAnnouncer } from "@millrace/nats";
import { createLog } from "@millrace/runtime";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";

const log = createLog("test", "silent");
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SOON = { timeout: 20_000, interval: 20 };

let servers: TestServers<{ readonly nats: true }>;
const opened: Announcer[] = [];
const open = (more: { readonly token?: string } = {}): Announcer => {
  const announcer = createAnnouncer({ url: servers.nats.url, token: servers.nats.token, log, ...more });
  opened.push(announcer);
  return announcer;
};
const connected = async (...announcers: Announcer[]): Promise<void> =>
  vi.waitFor(() => expect(announcers.every((one) => one.connected())).toBe(true), SOON);

interface Heard {
  readonly payload: unknown;
  readonly traceparent: string;
}
const hear = (announcer: Announcer, subject: string): { heard: Heard[]; end: () => void } => {
  const heard: Heard[] = [];
  const end = announcer.subscribe(subject, (payload, traceparent) => heard.push({ payload, traceparent }));
  return { heard, end };
};

beforeAll(async () => {
  servers = await startTestServers({ nats: true });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((announcer) => announcer.stop()));
});
afterAll(() => servers.stop());

describe("announcer on a real NATS", () => {
  it("carries payload and trace to every listener of the subject, and to no other", async () => {
    const [sender, one, two] = [open(), open(), open()];
    const first = hear(one, "a.b");
    const second = hear(two, "a.b");
    const other = hear(two, "a.c");
    await connected(sender, one, two);
    // What is announced before the server knows of a subscription is lost, as promised: say it until it is heard.
    await vi.waitFor(() => {
      sender.publish("a.b", { line: "flights", generation: 4 }, TRACE);
      expect(first.heard.length * second.heard.length).toBeGreaterThan(0);
    }, SOON);
    expect(first.heard[0]).toEqual({ payload: { line: "flights", generation: 4 }, traceparent: TRACE });
    expect(other.heard).toEqual([]);
    second.end();
    const before = second.heard.length;
    first.heard.length = 0;
    sender.publish("a.b", { last: true });
    await vi.waitFor(
      () => expect(first.heard).toContainEqual({ payload: { last: true }, traceparent: "" }),
      SOON,
    );
    expect(second.heard.filter(({ payload }) => "last" in (payload as object))).toEqual([]);
    expect(second.heard.length).toBeLessThanOrEqual(before + 1);
  });

  it("delivers what was published right before the stop", async () => {
    const [sender, listener] = [open(), open()];
    const { heard } = hear(listener, "bye");
    await connected(sender, listener);
    await vi.waitFor(() => {
      sender.publish("bye", {});
      expect(heard.length).toBeGreaterThan(0);
    }, SOON);
    sender.publish("bye", { last: true });
    await sender.stop();
    await vi.waitFor(() => expect(heard.at(-1)?.payload).toEqual({ last: true }), SOON);
  });

  it("is not disturbed by strangers' messages or by a listener that throws", async () => {
    const listener = open();
    listener.subscribe("s", () => {
      throw new Error("a listener's defect");
    });
    const { heard } = hear(listener, "s");
    await connected(listener);
    const { url, token } = servers.nats;
    const [host, port] = url.split(":");
    const stranger = connect({ host, port: Number(port) });
    stranger.write(`CONNECT {"auth_token":"${token}","verbose":false}\r\n`);
    await vi.waitFor(() => {
      for (const text of ["not JSON", "3", "null", "", '{"ok":true}']) {
        stranger.write(`PUB s ${text.length}\r\n${text}\r\n`);
      }
      expect(heard.length).toBeGreaterThan(0);
    }, SOON);
    stranger.destroy();
    expect(heard.every(({ payload }) => JSON.stringify(payload) === '{"ok":true}')).toBe(true);
    expect(listener.connected()).toBe(true);
  });

  it("comes back after NATS was killed, with its subscriptions, and never throws meanwhile", async () => {
    const [sender, listener] = [open(), open()];
    const { heard } = hear(listener, "again");
    await connected(sender, listener);
    for (let i = 0; i < 2; i++) {
      const { pid } = servers.status().find((one) => one.name === "nats") as { pid: number };
      process.kill(pid, "SIGKILL");
      await vi.waitFor(() => {
        sender.publish("again", { while: "away" });
        expect(sender.connected() || listener.connected()).toBe(false);
      }, SOON);
      await connected(sender, listener);
      heard.length = 0;
      await vi.waitFor(() => {
        sender.publish("again", { i });
        expect(heard.map(({ payload }) => payload)).toContainEqual({ i });
      }, SOON);
    }
  });

  it("goes on trying when the token is refused", async () => {
    const stranger = open({ token: "wrong-wrong-wrong-wrong" });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(stranger.connected()).toBe(false);
    stranger.publish("a.b", {});
    await stranger.stop();
  });
});
