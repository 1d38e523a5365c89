import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { isSampled, startTelemetry, withSpan } from "./index.ts";

describe("telemetry", () => {
  it("sends spans to the endpoint, in the caller's trace", async () => {
    const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const bodies: string[] = [];
    const collector = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => {
        body += chunk.toString("latin1");
      });
      request.on("end", () => {
        bodies.push(`${request.url} ${request.headers["content-type"]} ${body}`);
        response.writeHead(200, { "content-type": "application/json" }).end("{}");
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
    const telemetry = startTelemetry("loud", `http://127.0.0.1:${(collector.address() as AddressInfo).port}`);
    await withSpan(
      "inner",
      { traceparent: parent, attributes: { "millrace.line": "flights" } },
      async () => {},
    );
    await telemetry.stop();
    collector.close();
    const sent = bodies.join("\n");
    expect(sent).toContain("/v1/traces");
    expect(sent).toContain('"name":"inner"');
    expect(sent).toContain(parent.slice(3, 35));
    expect(sent).toContain(`"parentSpanId":"${parent.slice(36, 52)}"`);
    expect(sent).toContain("millrace-loud");
  });

  it.each([
    ["01", true],
    ["03", true],
    ["00", false],
    ["10", false],
  ])("knows by a traceparent's flags whether to record: %s", (flags, isAsked) => {
    expect(isSampled(`00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}`)).toBe(isAsked);
  });
});
