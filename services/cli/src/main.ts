import { resolve } from "node:path";
import { readConfig } from "./config.ts";
import { processIo } from "./io.ts";
import { runCli } from "./service.ts";
import { connectMesh, localMesh, meshFailure, repository } from "./wiring.ts";

const FORCED = 130;

const config = readConfig();
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // The second one does not wait; the mesh's keeper ends what is left.
    if (stop.signal.aborted) process.exit(FORCED);
    stop.abort();
  });
}
const io = processIo(config.color);
const exitCode = await runCli(process.argv.slice(2), {
  io,
  config,
  repository,
  localMesh,
  connectMesh,
  meshFailure,
  now: () => Date.now(),
  startedAtMs: performance.timeOrigin,
  stop: stop.signal,
  self: [resolve(import.meta.dirname, "../bin/millrace.mjs")],
});
process.exit(exitCode);
