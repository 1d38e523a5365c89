import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ports, readPorts } from "@millrace/local";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Command, type CommandEnd, runCommandJson, startCommand } from "./command.ts";
import { parseMetrics, type Sample } from "./metrics-text.ts";
import { family, type Process, stillRunning } from "./processes.ts";
import { ensureStrangers, type Load, type LoadSummary, type Strangers } from "./strangers.ts";
import { type CollectedSpan, startTraceCollector, type TraceCollector } from "./trace-collector.ts";

/**
 * The two commands that a newcomer types, on the real mesh: `start --once` closes one loop while clients that others
 * wrote ask without a break, one trace tells the whole story, nothing is left behind, and the next start goes on.
 */
const SERVICES = ["registry", "ingest", "feature", "trainer", "inference"] as const;
type Service = (typeof SERVICES)[number];
type Json = Readonly<Record<string, unknown>>;

/** What `start --once --json` prints, as far as it is looked at here. */
interface Report {
  readonly complete: boolean;
  readonly counts: Readonly<Record<"featured" | "predicted" | "labelled", number>>;
  readonly countsByStream: { readonly accepted: Readonly<Record<string, number>> };
  readonly equations: readonly { readonly text: string; readonly left: number; readonly holds: boolean }[];
  readonly quality: { readonly after: Record<"serving" | "first", { readonly logLoss: number }> | null };
  readonly versions: readonly {
    readonly version: number;
    readonly recipe: string;
    readonly digest: string;
  }[];
  readonly aliases: Readonly<Record<string, number>>;
}

const START_MS = 180_000;
const SETTLE_MS = 120_000;
const EVENT = JSON.stringify({
  flight: "stranger-1",
  due: "2001-01-07T17:30:00Z",
  origin: "ORD",
  destination: "LGA",
  distance: 733,
});

let home: string;
let env: Readonly<Record<string, string>>;
let collector: TraceCollector;
let strangers: Strangers;
let command: Command | undefined;
let load: Load | undefined;
let ports: Ports;

beforeAll(async () => {
  strangers = await ensureStrangers();
  collector = await startTraceCollector();
  home = await mkdtemp(join(tmpdir(), "millrace-loop-"));
  const passed = ["PATH", "HOME", "JAVA_HOME", "XDG_CACHE_HOME", "MILLRACE_CACHE"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  env = {
    ...Object.fromEntries(passed),
    MILLRACE_HOME: home,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
  };
});

afterAll(async () => {
  load?.kill();
  command?.kill();
  await command?.ended;
  await runCommandJson(["down"], env);
  await collector.stop();
  await rm(home, { recursive: true, force: true });
});

const millrace = <T = Json>(...args: readonly string[]): Promise<T> => runCommandJson<T>(args, env);

describe("start --once", () => {
  let end: CommandEnd;
  let report: Report;
  let calls: Awaited<ReturnType<typeof askByGrpcurl>>;
  let asked: LoadSummary;
  let metrics: Readonly<Record<Service, readonly Sample[]>>;
  /** The newest version that answered the client: the champion, unless a later one came while the sums were done. */
  let retrained: number;
  let started: readonly Process[];
  let traces: readonly (readonly CollectedSpan[])[];

  beforeAll(async () => {
    command = startCommand(["start", "--once"], env);
    ports = await serving(command);
    load = strangers.startLoad(ports.inference, "flights", join(home, "stop-load"));
    calls = await askByGrpcurl();
    await command.says(/ loop: swapped /);
    started = await family(command.pid);
    metrics = await scrape();
    // Until the mesh stops, at least the sums are done twice.
    await command.says(/ the player stops/);
    asked = await load.stop();
    retrained = Math.max(...Object.keys(asked.versions).map(Number));
    end = await command.ended;
    traces = collector.traces();
    report = JSON.parse(end.output);
    process.stdout.write(`start --once: ${end.output.trim()}\ntritonclient: ${JSON.stringify(asked)}\n`);
  });

  it("closes the loop, and every sum holds", () => {
    expect(end.code).toBe(0);
    expect(report.complete).toBe(true);
    expect(report.equations).toHaveLength(4);
    expect(report.equations.filter(({ holds, left }) => !holds || left === 0)).toEqual([]);
  });

  it("trains a first model after the baseline, and a better one after the change", () => {
    const { versions, aliases, quality } = report;
    expect(versions.length).toBeGreaterThanOrEqual(3);
    expect(versions.map(({ version }) => version)).toEqual(versions.map((_, i) => i + 1));
    expect(versions[0]?.recipe).toBe("baseline");
    expect(aliases["baseline"]).toBe(1);
    expect(aliases["first"]).toBeGreaterThan(1);
    expect(aliases["champion"]).toBeGreaterThanOrEqual(retrained);
    expect(quality.after?.serving.logLoss).toBeLessThan(quality.after?.first.logLoss as number);
  });

  it("answers a stranger's client throughout, across every swap", () => {
    expect(asked.errors).toEqual([]);
    expect(asked.failed).toBe(0);
    expect(asked.calls).toBeGreaterThan(1_000);
    expect(Object.keys(asked.versions).length).toBeGreaterThanOrEqual(2);
    expect(retrained).toBeGreaterThan(report.aliases["first"] as number);
    expect(Object.values(asked.versions).reduce((sum, answers) => sum + answers, 0)).toBe(asked.calls);
  });

  it("answers grpcurl with the protocol's own definition", () => {
    expect(calls.live).toEqual({ live: true });
    expect(calls.metadata).toMatchObject({
      name: "flights",
      inputs: [{ name: "features", datatype: "FP32" }],
      outputs: [{ name: "score", datatype: "FP32" }],
    });
    expect(calls.metadata["versions"]).toContain(calls.champion["modelVersion"]);
    expect(calls.champion).toMatchObject({ modelName: "flights", id: "stranger-champion" });
    const { modelVersion } = calls.champion;
    expect(report.versions.map(({ version }) => String(version))).toContain(modelVersion);
    expect(calls.named).toMatchObject({ modelName: "flights", id: "stranger-named", modelVersion });
  });

  it("tells the way from the drift report to the swap in one trace", () => {
    const found = traces.filter((spans) => spans.some(retrainedServes));
    expect(found).toHaveLength(1);
    const trace = found[0] ?? [];

    const spans = trace.map(({ service, name }) => `${service.replace("millrace-", "")}: ${name}`);
    for (const name of [
      "feature: drift report",
      "trainer: training run",
      ...["build", "train", "judge", "register", "promote"].map((stage) => `trainer: ${stage}`),
      "registry: millrace.registry.v1.RegistryService/Promote",
      "inference: inference swap",
    ]) {
      expect(spans).toContain(name);
    }
    // One tree: the drift report is its root, and no span hangs in the air.
    const ids = new Set(trace.map(({ spanId }) => spanId));
    const roots = trace.filter(({ parentSpanId }) => !ids.has(parentSpanId));
    expect(roots.map(({ name }) => name)).toEqual(["drift report"]);
    expect(trace.find(({ name }) => name === "training run")?.attributes["millrace.trigger"]).toBe("drift");
  });

  it("writes the trace into the logs of everyone who took part", async () => {
    const traceId = traces.find((spans) => spans.some(retrainedServes))?.[0]?.traceId;
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    for (const service of ["trainer", "registry", "inference"]) {
      const log = await readFile(join(home, "logs", `${service}.log`), "utf8");
      const records = log
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line));
      expect(records.map((record) => record.trace_id)).toContain(traceId);
    }
  });

  it.each([
    ["registry", ["millrace_registry_changes_total", "millrace_registry_generation"]],
    ["ingest", ["millrace_ingest_events_total"]],
    ["feature", ["millrace_feature_records_total", "millrace_feature_lag"]],
    [
      "trainer",
      [
        "millrace_training_runs_total",
        "millrace_training_decisions_total",
        "millrace_training_stage_seconds_count",
      ],
    ],
    [
      "inference",
      [
        "millrace_inference_predictions_total",
        "millrace_inference_requests_total",
        "millrace_inference_duration_seconds_count",
        "millrace_inference_lag",
        "millrace_swap_seconds_count",
      ],
    ],
  ] as const)("counts what happens in %s for Prometheus", (service, names) => {
    const samples = metrics[service];
    expect(samples.find(({ name }) => name === "target_info")?.labels["service_name"]).toBe(
      `millrace-${service}`,
    );
    for (const wanted of names) {
      const found = samples.filter(({ name }) => name === wanted);
      expect(found, wanted).not.toEqual([]);
      // A lag may be nothing; what counts up has counted something by now.
      if (!wanted.endsWith("_lag")) expect(Math.max(...found.map(({ value }) => value))).toBeGreaterThan(0);
    }
  });

  it("leaves no process and no unfinished file", async () => {
    // The command, its keeper, the player, five services and three servers.
    expect(started.length).toBeGreaterThanOrEqual(11);
    await expect.poll(() => stillRunning(started), { timeout: 15_000, interval: 250 }).toEqual([]);
    expect(await notes()).toEqual([]);
    expect(await unfinished()).toEqual([]);
  });

  describe("and the next start", () => {
    interface Status {
      readonly services: readonly { readonly state: string }[];
      readonly lines: readonly {
        readonly counts: Readonly<Record<string, Readonly<Record<string, number>>>>;
        readonly champion: { readonly version: number };
        readonly lastRun: { readonly state: string };
      }[];
    }
    interface Versions {
      readonly versions: readonly { readonly version: number; readonly artifactDigest: string }[];
      readonly aliases: Readonly<Record<string, number>>;
    }
    interface History {
      readonly history: readonly { readonly champion: number; readonly change: string }[];
    }
    let supervisor: number;
    let stoppedAt: string;

    beforeAll(async () => {
      stoppedAt = new Date().toISOString();
      const up = await millrace<{ readonly ready: boolean; readonly supervisor: number }>("up", "--detach");
      expect(up.ready).toBe(true);
      supervisor = up.supervisor;
      ports = (await readPorts(home)) as Ports;
      // A training that was under way when the mesh stopped begins again, and may end with a new champion.
      await vi.waitFor(
        async () => {
          const { lines } = await millrace<Status>("status");
          expect(lines[0]?.lastRun.state).toMatch(/^(promoted|rejected|failed)$/);
        },
        { timeout: SETTLE_MS, interval: 1_000 },
      );
    });

    it("knows every count as it was", async () => {
      const { accepted } = report.countsByStream;
      const wanted = {
        ingest: {
          "accepted.departures": accepted["departures"],
          "accepted.arrivals": accepted["arrivals"],
        },
        feature: { features: report.counts.featured, examples: report.counts.labelled },
        inference: { predictions: report.counts.predicted },
      };
      await vi.waitFor(
        async () => {
          const { services, lines } = await millrace<Status>("status");
          expect(services.map(({ state }) => state)).toEqual(SERVICES.map(() => "running"));
          expect(lines[0]?.counts).toMatchObject(wanted);
        },
        { timeout: SETTLE_MS, interval: 500 },
      );
    });

    it("knows every version, and which one served", async () => {
      const { versions, aliases } = await millrace<Versions>("versions", "flights");
      expect(
        versions
          .slice(0, report.versions.length)
          .map(({ version, artifactDigest }) => [version, artifactDigest]),
      ).toEqual(report.versions.map(({ version, digest }) => [version, digest]));
      expect(aliases["first"]).toBe(report.aliases["first"]);
      const then = await millrace<History>("versions", "flights", "--at", stoppedAt);
      expect(then.history.map(({ champion }) => champion)).toEqual([report.aliases["champion"]]);
      const { lines } = await millrace<Status>("status");
      expect(lines[0]?.champion.version).toBe(aliases["champion"]);
      if (versions.length === report.versions.length)
        expect(aliases["champion"]).toBe(then.history[0]?.champion);
    });

    it("lists the line, and finds nothing wrong", async () => {
      const { lines } = await millrace<{ readonly lines: readonly Json[] }>("lines");
      expect(lines).toMatchObject([{ name: "flights", revision: 1, champion: expect.any(Number) }]);
      const { ok, checks } = await millrace<{ readonly ok: boolean; readonly checks: readonly Json[] }>(
        "doctor",
      );
      expect(checks.filter((check) => !check["ok"])).toEqual([]);
      expect(ok).toBe(true);
    });

    it("scores an event by the champion, and by the one before after a rollback", async () => {
      const { aliases } = await millrace<Versions>("versions", "flights");
      const before = await predict();
      expect(before["version"]).toBe(aliases["champion"]);
      expect(before["score"]).toBeGreaterThan(0);
      expect(before["score"]).toBeLessThan(1);

      const { champion } = await millrace<{ readonly champion: number }>("rollback", "flights");
      expect(champion).toBeLessThan(aliases["champion"] as number);
      await vi.waitFor(async () => expect((await predict())["version"]).toBe(champion), {
        timeout: SETTLE_MS,
        interval: 500,
      });
      const { history } = await millrace<History>("versions", "flights", "--history");
      expect(history[0]).toMatchObject({ champion, change: "rollback" });
      const { champion: answered } = await askByGrpcurl();
      expect(answered["modelVersion"]).toBe(String(champion));
    });

    it("goes down and leaves nothing", async () => {
      const supervised = await family(supervisor);
      // The supervisor, its keeper, five services and three servers.
      expect(supervised.length).toBeGreaterThanOrEqual(10);
      const { stopped } = await millrace<{ readonly stopped: readonly string[] }>("down");
      expect(stopped).toEqual([...SERVICES, "kafka", "nats", "s3"].toSorted());
      await expect.poll(() => stillRunning(supervised), { timeout: 15_000, interval: 250 }).toEqual([]);
      expect(await notes()).toEqual([]);
      expect(await unfinished()).toEqual([]);
      await expect(millrace("status")).rejects.toThrow(/is down/);
    });
  });

  function retrainedServes({ name, attributes }: CollectedSpan): boolean {
    return name === "inference swap" && attributes["millrace.version"] === retrained;
  }
});

/** The ports, once inference answers for the line. */
async function serving({ ended }: Command): Promise<Ports> {
  const early = ended.then(({ code }) => {
    throw new Error(`start --once ended with ${code} before it served: ${command?.said()}`);
  });
  const ready = vi.waitFor(
    async () => {
      const found = await readPorts(home);
      if (found === undefined) throw new Error("no ports yet");
      const answer = await strangers.grpcurl(found.inference, "ModelReady", { name: "flights" });
      expect(answer).toEqual({ ready: true });
      return found;
    },
    { timeout: START_MS, interval: 250 },
  );
  return Promise.race([ready, early]);
}

/** What grpcurl gets: liveness, metadata, the champion's answer, and that of the version which then served, by name. */
async function askByGrpcurl(): Promise<Record<"live" | "metadata" | "champion" | "named", Json>> {
  const ask = (method: string, request: unknown): Promise<Json> =>
    strangers.grpcurl(ports.inference, method, request);
  const live = await ask("ServerLive", {});
  const metadata = await ask("ModelMetadata", { name: "flights" });
  const [input] = metadata["inputs"] as { readonly shape: readonly string[] }[];
  const features = Number(input?.shape[1]);
  const request = {
    modelName: "flights",
    inputs: [
      {
        name: "features",
        datatype: "FP32",
        shape: [1, features],
        // A feature that is not known is NaN.
        contents: { fp32Contents: ["NaN", ...Array.from({ length: features - 1 }, () => 0.5)] },
      },
    ],
  };
  const champion = await ask("ModelInfer", { ...request, id: "stranger-champion" });
  const { modelVersion } = champion;
  const named = await ask("ModelInfer", { ...request, id: "stranger-named", modelVersion });
  return { live, metadata, champion, named };
}

async function scrape(): Promise<Readonly<Record<Service, readonly Sample[]>>> {
  const entries = SERVICES.map(async (service) => {
    const response = await fetch(`http://127.0.0.1:${ports[`${service}Ops`]}/metrics`);
    return [service, parseMetrics(await response.text())] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as Record<Service, readonly Sample[]>;
}

async function predict(): Promise<Readonly<Record<"version" | "score", number>>> {
  return runCommandJson(["predict", "flights", EVENT], env);
}

/** Notes of running processes. */
async function notes(): Promise<readonly string[]> {
  return (await readdir(join(home, "run"))).filter((file) => file.endsWith(".pid"));
}

/** Files that were being written when their writer ended. */
async function unfinished(): Promise<readonly string[]> {
  const files = await readdir(join(home, "data"), { recursive: true });
  return files.filter((file) => file.endsWith(".tmp"));
}
