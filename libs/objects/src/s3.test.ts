import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createLog,
  ObjectDamagedError,
  ObjectMissingError,
  type ObjectStore,
  ObjectStoreUnavailableError,
  sha256Hex,
} from "@millrace/runtime";
import { afterEach, describe, expect, it } from "vitest";
import { createObjectStore } from "./index.ts";

/** What goes wrong on the wire. The right ways are tested on real stores, in test/contract. */
let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function storeAt(listener: RequestListener): Promise<ObjectStore> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  return createObjectStore({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    accessKey: "access",
    secretKey: "secret-secret",
    bucket: "millrace",
    log: createLog("test", "silent"),
    attemptMs: 200,
  });
}

const BYTES = Buffer.from("the bytes of a model");
const DIGEST = sha256Hex(BYTES);
const LIMITS = { bytesMax: 1_000 };

describe("object store over S3", () => {
  it("gives up on a store that accepts and never answers", async () => {
    const store = await storeAt(() => {});
    const started = Date.now();
    await expect(store.get(DIGEST, { bytesMax: 0 })).rejects.toThrow(ObjectStoreUnavailableError);
    expect(Date.now() - started).toBeLessThan(5_000);
  });

  it("gives up on a store that stops in the middle of an object", async () => {
    const store = await storeAt((_request, response) => {
      response.writeHead(200, { "content-length": 1_000 }).write(BYTES);
    });
    await expect(store.get(DIGEST, { bytesMax: 0 })).rejects.toThrow(ObjectDamagedError);
    const slow = store.get(DIGEST, { bytesMax: 100 });
    await expect(slow).rejects.toThrow(ObjectStoreUnavailableError);
  });

  it("tries again after a 503, a reset and a truncated answer", async () => {
    let calls = 0;
    const store = await storeAt((request, response) => {
      calls++;
      if (calls === 1) response.writeHead(503).end("<Error><Code>SlowDown</Code></Error>");
      else if (calls === 2) request.socket.destroy();
      else response.writeHead(200).end(BYTES);
    });
    await expect(store.get(DIGEST, LIMITS)).resolves.toEqual(BYTES);
    expect(calls).toBe(3);
  });

  it("does not answer bytes of another digest, whatever the store says", async () => {
    for (const bytes of [Buffer.from("another model"), BYTES.subarray(0, 5), Buffer.alloc(0)]) {
      const store = await storeAt((_request, response) => void response.writeHead(200).end(bytes));
      await expect(store.get(DIGEST, LIMITS)).rejects.toThrow(ObjectDamagedError);
      server?.close();
    }
  });

  it("stops reading at the limit", async () => {
    let sent = 0;
    const store = await storeAt((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (sent < 512 * 1024 * 1024 && !response.destroyed) {
          sent += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
        }
      };
      more();
    });
    await expect(store.get(DIGEST, LIMITS)).rejects.toThrow(/larger than 1000 bytes/);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  it("leaves no file of a damaged object", async () => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-objects-"));
    let bytes = Buffer.from("another model");
    const store = await storeAt((_request, response) => void response.writeHead(200).end(bytes));
    const file = join(folder, "dataset.parquet");
    await expect(store.getToFile(DIGEST, file, LIMITS)).rejects.toThrow(ObjectDamagedError);
    expect(await readdir(folder)).toEqual([]);
    bytes = BYTES;
    await store.getToFile(DIGEST, file, LIMITS);
    expect(await readFile(file)).toEqual(BYTES);
    expect(await readdir(folder)).toEqual(["dataset.parquet"]);
    await rm(folder, { recursive: true });
  });

  it("tells a missing object from a refusing store, and does not repeat either", async () => {
    let calls = 0;
    let code = "NoSuchKey";
    const store = await storeAt((_request, response) => {
      calls++;
      response.writeHead(code === "NoSuchKey" ? 404 : 403).end(`<Error><Code>${code}</Code></Error>`);
    });
    await expect(store.get(DIGEST, LIMITS)).rejects.toThrow(ObjectMissingError);
    code = "InvalidAccessKeyId";
    await expect(store.get(DIGEST, LIMITS)).rejects.toThrow(/InvalidAccessKeyId/);
    expect(calls).toBe(2);
  });

  it("refuses what is not a digest before it asks the store", async () => {
    const store = await storeAt(() => expect.unreachable());
    for (const digest of ["", "../../etc/passwd", DIGEST.toUpperCase(), `${DIGEST}/x`, DIGEST.slice(1)]) {
      await expect(store.get(digest, LIMITS)).rejects.toThrow(RangeError);
    }
  });
});
