import { registryApi } from "@millrace/contracts";
import { bearerTokens } from "@millrace/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRpcClient, RpcError, type RpcServer, serve, startRpcServer } from "./index.ts";

const TOKEN = "0123456789abcdef";
let server: RpcServer;
const defects: unknown[] = [];

beforeAll(async () => {
  const unimplemented = (): never => {
    throw new RpcError("unimplemented", "not in this test");
  };
  const methods = registryApi.RegistryService.methods.map(
    (method) => [method.localName, unimplemented] as const,
  );
  server = await startRpcServer({
    host: "127.0.0.1",
    port: 0,
    authorise: bearerTokens([TOKEN]),
    requestBytesMax: 10_000,
    onDefect: (_method, error) => void defects.push(error),
    services: [
      serve(registryApi.RegistryService, {
        ...(Object.fromEntries(methods) as never as Parameters<
          typeof serve<typeof registryApi.RegistryService>
        >[1]),
        listLines: () => ({ lines: [{ name: "flights", revision: 3n }] }),
        applyLine: (request) => {
          if (request.definitionJson === "defect") throw new TypeError("secret path");
          throw new RpcError("invalidArgument", "label.from: there is no stream");
        },
      }),
    ],
  });
});
afterAll(() => server.stop(1_000));

const connect = (token: string | null) =>
  createRpcClient(registryApi.RegistryService, `127.0.0.1:${server.port}`, { token });

describe("rpc", () => {
  it("carries typed requests and responses", async () => {
    const client = connect(TOKEN);
    const answer = await client.listLines({});
    expect(answer.lines[0]).toMatchObject({ name: "flights", revision: 3n });
    client.close();
  });

  it("refuses every method of a service to callers without the token", async () => {
    for (const token of [null, "wrong-wrong-wrong-wrong"]) {
      const client = connect(token);
      for (const { localName } of registryApi.RegistryService.methods) {
        const call = client[localName as "listLines"];
        await expect(call({}), localName).rejects.toMatchObject({ code: "unauthenticated" });
      }
      client.close();
    }
  });

  it("hands a handler's status and message to the caller", async () => {
    const client = connect(TOKEN);
    const call = client.applyLine({ definitionJson: "{}" });
    await expect(call).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringContaining("label.from"),
    });
    client.close();
  });

  it("keeps the text of a defect from the caller", async () => {
    const client = connect(TOKEN);
    const call = client.applyLine({ definitionJson: "defect" });
    await expect(call).rejects.toMatchObject({
      code: "internal",
      message: expect.not.stringContaining("secret"),
    });
    expect(defects).toHaveLength(1);
    client.close();
  });

  it("refuses requests over the size limit", async () => {
    const client = connect(TOKEN);
    const call = client.applyLine({ definitionJson: "x".repeat(20_000) });
    await expect(call).rejects.toMatchObject({ code: "resourceExhausted" });
    client.close();
  });
});
