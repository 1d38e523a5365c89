/**
 * The feature service over one line on a real Kafka, as a process of its own: the service as it is, with its line and
 * its servers given instead of looked up, and nothing beside it. `run-feature.ts` starts it. It is told by one JSON
 * argument, says `{"ready":true,"port":N}` when it serves online features, and ends with its standard input.
 */
import { mkdir } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { BlockFiles } from "@millrace/archive";
import { buildFeature } from "@millrace/feature";
import { createKafkaBroker } from "@millrace/kafka";
import { serve, startRpcServer } from "@millrace/rpc";
import { bearerTokens, createLog, sha256Hex, systemClock } from "@millrace/runtime";
import { memoryObjects } from "@millrace/testkit";
import type { FeatureProcess } from "./run-feature.ts";

const YEAR_MS = 31_536_000_000;
const STOP_MS = 20_000;

const { line, folder, brokers, sasl, token } = JSON.parse(process.argv[2] ?? "{}") as FeatureProcess;
const log = createLog("feature", "warn");
const fail = (error: unknown): void => {
  log.error({ err: error }, "the process ends");
  process.exit(1);
};
const broker = createKafkaBroker({ clientId: "feature", brokers, sasl, log });
const definitionJson = JSON.stringify(line);
await mkdir(folder, { recursive: true });
let port = 0;
const service = buildFeature(
  { MILLRACE_DATA: folder },
  {
    broker,
    lines: {
      list: async () => [{ definitionJson, digest: sha256Hex(definitionJson) }],
      onChange: () => () => {},
    },
    // Checkpoints are kept in the folder; there is no archive, and nobody to share them with.
    objects: memoryObjects(),
    checkpointIndex: () => ({
      acquire: async () => ({ epoch: 1, newest: [] }),
      put: async () => ({ kept: [], dropped: [] }),
    }),
    blocks: async () => [],
    files: new BlockFiles(join(folder, "blocks"), memoryObjects()),
    parquet: {
      scan: () => {
        throw new Error("there is no archive");
      },
    },
    serveOnline: async (api, handlers) => {
      const server = await startRpcServer({
        host: "127.0.0.1",
        port: 0,
        authorise: bearerTokens([token]),
        services: [serve(api, handlers)],
        requestBytesMax: 1_048_576,
        onDefect: (_method, error) => fail(error),
      });
      port = server.port;
      return server;
    },
    verifyEveryMs: YEAR_MS,
    clock: systemClock,
    log,
    fail,
    close: () => broker.stop(),
  },
);
await service.start(new AbortController().signal);
flushCompileCache();
process.stdout.write(`${JSON.stringify({ ready: true, port })}\n`);
process.stdin.resume().once("end", () => void service.stop(STOP_MS).then(() => process.exit(0), fail));
