import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ServiceStatus } from "@millrace/contracts";
import type { Telemetry } from "./telemetry.ts";

export interface OpsServer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * The HTTP port for people and machines that watch: `/livez` (the process answers), `/readyz` (it does its work),
 * `/metrics` (Prometheus), `/status` (JSON, `ServiceStatus`). Read only; binds to `host`.
 */
export async function startOpsServer(
  host: string,
  port: number,
  telemetry: Telemetry,
  probes: { ready(): boolean; status(): ServiceStatus; metricsText(): string },
): Promise<OpsServer> {
  const server: Server = createServer((request, response) => {
    const answer = (code: number, type: string, body: string): void => {
      response.writeHead(code, { "content-type": type }).end(body);
    };
    if (request.method !== "GET" && request.method !== "HEAD") return answer(405, "text/plain", "only GET\n");
    switch (request.url?.split("?")[0]) {
      case "/livez":
        return answer(200, "text/plain", "live\n");
      case "/readyz":
        return probes.ready()
          ? answer(200, "text/plain", "ready\n")
          : answer(503, "text/plain", "not ready\n");
      case "/status":
        return answer(200, "application/json", JSON.stringify(probes.status()));
      case "/metrics":
        return void telemetry.metricsText().then(
          (text) => answer(200, "text/plain; version=0.0.4", text + probes.metricsText()),
          (error: unknown) => answer(500, "text/plain", `metrics cannot be read: ${String(error)}\n`),
        );
      default:
        return answer(404, "text/plain", "use /livez, /readyz, /metrics or /status\n");
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
