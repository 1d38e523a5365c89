/** `run-mesh.ts HOME`: a supervisor of its own, for tests that kill or stop one from outside. */
import { startMesh } from "../src/mesh.ts";
import { FOREIGN } from "./foreign.ts";

const mesh = await startMesh({
  home: process.argv[2] ?? "",
  services: ["registry", "ingest"],
  existing: FOREIGN,
  ports: "random",
  program: () => "deploy/local/test/dummy-service.ts",
});
process.on("SIGTERM", () => void mesh.stop().then(() => process.exit(0)));
process.stdout.write(`${JSON.stringify(mesh.status())}\n`);
