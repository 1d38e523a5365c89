import { join } from "node:path";
import { writeFileDurably } from "@millrace/runtime";
import { passedOn } from "./config.ts";
import type { NatsConnection } from "./connections.ts";
import { acceptsTcp } from "./probes.ts";
import type { ProcessSpec } from "./process.ts";

/** A local NATS server. */
export interface NatsServer {
  readonly home: string;
  readonly port: number;
  readonly token: string;
}

/** The process of a NATS server on loopback that asks for the token and keeps nothing on disk. */
export async function natsProcess(program: string, server: NatsServer): Promise<ProcessSpec> {
  const file = join(server.home, "config", "nats.conf");
  await writeFileDurably(
    file,
    `listen: "127.0.0.1:${server.port}"\nauthorization { token: "${server.token}" }\n`,
  );
  const { PATH = "", HOME = "" } = passedOn();
  return {
    name: "nats",
    kind: "server",
    program,
    args: ["--config", file],
    cwd: server.home,
    env: { PATH, HOME },
    ready: () => acceptsTcp(server.port),
    stopMs: 5_000,
  };
}

/** How clients reach the server. */
export function natsConnection(server: NatsServer): NatsConnection {
  return { url: `127.0.0.1:${server.port}`, token: server.token };
}
