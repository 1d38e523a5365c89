/** Stands for a service in the supervisor's tests: answers /readyz with its environment, ends on SIGTERM. */
import { createServer } from "node:http";

const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== "PATH" && name !== "HOME"),
);
process.stdout.write(`dummy ${process.pid} serves\n`);
createServer((_, response) => response.end(JSON.stringify(environment))).listen(
  Number(process.env["MILLRACE_OPS_PORT"]),
  "127.0.0.1",
);
process.on("SIGTERM", () => process.exit(0));
