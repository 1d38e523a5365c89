/** `doctor`: what is reachable, what is not, and what to do about it. */
import { statfs } from "node:fs/promises";
import { connect } from "node:net";
import { MESH_TOPICS } from "@millrace/contracts";
import { RpcError, withDeadline } from "@millrace/runtime";
import type { Context } from "../context.ts";
import { START } from "../context.ts";
import { errorText } from "../failure.ts";
import type { Result } from "../io.ts";
import { type Clients, type MeshAddress, SERVICES } from "../mesh.ts";
import { isReady } from "../status.ts";
import { durationText } from "../text.ts";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly found: string;
  /** What to do; empty when all is well. */
  readonly remedy: string;
  readonly ms: number;
}

const PROBE_MS = 8_000;
const DISK_BYTES_MIN = 2 * 1024 ** 3;

/** Runs every check; exit code 1 when something is wrong. */
export async function doctor(context: Context): Promise<Result> {
  const checks: Check[] = [];
  const missing = await context.local.missingPrerequisites();
  if (missing.length === 0) {
    checks.push({
      name: "prerequisites",
      ok: true,
      found: "Node, npm, Java, Maven, Go, Python",
      remedy: "",
      ms: 0,
    });
  }
  for (const line of missing) {
    const [found, ...remedy] = line.split(": ");
    checks.push({
      name: "prerequisite",
      ok: false,
      found: `missing: ${found}`,
      remedy: remedy.join(": "),
      ms: 0,
    });
  }
  checks.push(await diskSpace(context.local.home));
  const address = await context.local.address();
  if (address === null) {
    checks.push({
      name: "mesh",
      ok: false,
      found: `never started in ${context.local.home}`,
      remedy: START,
      ms: 0,
    });
  } else {
    checks.push(...(await context.withClients((clients) => Promise.all(meshChecks(address, clients)))));
  }
  const wrong = checks.filter(({ ok }) => !ok);
  return {
    json: { ok: wrong.length === 0, checks },
    text: [
      ...checks.map(
        ({ name, ok, found, remedy, ms }) =>
          `${ok ? "ok   " : "FAIL "} ${name.padEnd(16)} ${found}${ms > 0 ? `  (${durationText(ms)})` : ""}${ok ? "" : `\n      -> ${remedy}`}`,
      ),
      "",
      wrong.length === 0 ? "All is well." : `${wrong.length} of ${checks.length} checks failed.`,
    ].join("\n"),
    exitCode: wrong.length === 0 ? 0 : 1,
  };
}

function meshChecks(address: MeshAddress, clients: Clients): Promise<Check>[] {
  const logs = `${address.home}/logs`;
  const check = async (name: string, remedy: string, probe: () => Promise<string>): Promise<Check> => {
    const startedAt = performance.now();
    const done = (ok: boolean, found: string): Check => ({
      name,
      ok,
      found,
      remedy: ok ? "" : remedy,
      ms: Math.round(performance.now() - startedAt),
    });
    try {
      return done(true, await withDeadline(PROBE_MS, name, probe()));
    } catch (error) {
      return done(false, errorText(error).split("\n")[0] ?? "");
    }
  };
  const server = (log: string): string => `${START} If it runs: ${logs}/${log}.log has the cause.`;
  return [
    check("Kafka", server("kafka"), async () => {
      const broker = address.kafka.brokers.split(",")[0] as string;
      await reach(broker);
      await clients.broker.offsets(MESH_TOPICS.changes.name);
      return `answers at ${broker}`;
    }),
    check("NATS", server("nats"), async () => {
      await reach(address.nats.url, "INFO");
      return `answers at ${address.nats.url}`;
    }),
    check("object store", server("s3"), async () => {
      await fetch(address.s3.url, { signal: AbortSignal.timeout(PROBE_MS) }).then((answer) =>
        answer.body?.cancel(),
      );
      return `answers at ${address.s3.url}`;
    }),
    check("registry", server("registry"), async () => {
      const { lines } = await clients.registry.listLines({});
      return `answers at ${address.registry}, ${lines.length} ${lines.length === 1 ? "line" : "lines"}`;
    }),
    check("feature", server("feature"), async () => {
      await clients.feature.getVector({ line: "doctor", eventJson: "{}" }).catch((error: unknown) => {
        // A service that answers "no such line" works.
        if (!(error instanceof RpcError) || !["notFound", "invalidArgument"].includes(error.code))
          throw error;
      });
      return `answers at ${address.feature}`;
    }),
    check("inference", server("inference"), async () => {
      const { live } = await clients.inference.serverLive({});
      if (!live) throw new Error("says that it is not live");
      const { ready } = await clients.inference.serverReady({});
      return `answers at ${address.inference}${ready ? "" : "; serves no model yet"}`;
    }),
    ...SERVICES.map((name) =>
      check(`${name} ready`, `${logs}/${name}.log has the cause. ${START}`, async () => {
        if (!(await isReady(address.ops[name])))
          throw new Error(`${address.ops[name]}/readyz does not say ready`);
        return `${address.ops[name]}/readyz`;
      }),
    ),
  ];
}

/** Connects to `host:port`; with a greeting, waits until the server begins with it. */
async function reach(hostAndPort: string, greeting?: string): Promise<void> {
  const [host, port] = hostAndPort.replace(/^\w+:\/\//, "").split(":");
  const socket = connect({ host: host as string, port: Number(port), timeout: PROBE_MS });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.once("timeout", () => reject(new Error("no answer")));
      if (greeting === undefined) socket.once("connect", () => resolve());
      else {
        socket.once("data", (data: Buffer) =>
          data.toString("latin1").startsWith(greeting)
            ? resolve()
            : reject(new Error(`something else than expected listens at ${hostAndPort}`)),
        );
      }
    });
  } finally {
    socket.destroy();
  }
}

async function diskSpace(home: string): Promise<Check> {
  const { bavail, bsize } = await statfs(home).catch(() => statfs("."));
  const free = bavail * bsize;
  const ok = free >= DISK_BYTES_MIN;
  return {
    name: "disk space",
    ok,
    found: `${(free / 1024 ** 3).toFixed(1)} GiB free for ${home}`,
    remedy: ok ? "" : "Free at least 2 GiB, or choose another folder with --home.",
    ms: 0,
  };
}
