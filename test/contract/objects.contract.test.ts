import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestServers } from "@millrace/local";
import { createObjectStore } from "@millrace/objects";
import {
  createLog,
  ObjectDamagedError,
  ObjectMissingError,
  type ObjectStore,
  ObjectStoreUnavailableError,
  objectKey,
  sha256Hex,
} from "@millrace/runtime";
import { memoryObjects } from "@millrace/testkit";
import { Client } from "minio";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** One promise, kept by the fake and by the adapter on two different servers. */
interface Scene {
  readonly store: ObjectStore;
  /** Replaces what is stored under a digest, behind the adapter's back. */
  damage(digest: string, bytes: Uint8Array): Promise<void>;
  stop(): Promise<void>;
}

const BUCKET = "millrace-test";

async function s3Scene(server: "minio" | "versitygw"): Promise<Scene> {
  const servers = await startTestServers({ s3: server });
  const url = new URL(servers.s3.url);
  const { accessKey, secretKey } = servers.s3;
  const client = new Client({
    endPoint: url.hostname,
    port: Number(url.port),
    useSSL: false,
    accessKey,
    secretKey,
    region: "us-east-1",
  });
  const log = createLog("test", "silent");
  return {
    store: createObjectStore({ ...servers.s3, bucket: BUCKET, log }),
    damage: async (digest, bytes) =>
      void (await client.putObject(BUCKET, objectKey(digest), Buffer.from(bytes))),
    stop: () => servers.stop(),
  };
}

async function memoryScene(): Promise<Scene> {
  const store = memoryObjects();
  return { store, damage: async (digest, bytes) => store.damage(digest, bytes), stop: async () => {} };
}

const LIMITS = { bytesMax: 64 * 1024 * 1024 };

describe.each([
  ["memory", memoryScene],
  ["minio", () => s3Scene("minio")],
  ["versitygw", () => s3Scene("versitygw")],
] as const)("object store on %s", (_name, open) => {
  let scene: Scene;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-objects-"));
    scene = await open();
    await scene.store.ensureBucket();
  }, 300_000);
  afterAll(async () => {
    await scene?.stop();
    await rm(folder, { recursive: true });
  });

  it("makes the bucket once", async () => {
    await Promise.all([scene.store.ensureBucket(), scene.store.ensureBucket()]);
  });

  it("removes objects, and what is not there without an error", async () => {
    const digests = [
      await scene.store.put(new TextEncoder().encode("to be removed")),
      sha256Hex(new TextEncoder().encode("never stored")),
    ];
    await scene.store.remove(digests);
    for (const digest of digests) expect(await scene.store.size(digest)).toBeNull();
    await expect(scene.store.remove(["../../etc/passwd"])).rejects.toThrow(RangeError);
  });

  it("tells how large an object is, and that there is none", async () => {
    const bytes = new TextEncoder().encode("how large?");
    expect(await scene.store.size(sha256Hex(bytes))).toBeNull();
    const digest = await scene.store.put(bytes);
    expect(await scene.store.size(digest)).toBe(bytes.length);
    await expect(scene.store.size("../etc/passwd")).rejects.toThrow(RangeError);
  });

  it.each([0, 1, 1_000, 70 * 1024 * 1024 - 1])(
    "gives back %i bytes by their digest",
    async (size) => {
      const bytes = Buffer.alloc(size, "model");
      const digest = await scene.store.put(bytes);
      expect(digest).toBe(sha256Hex(bytes));
      const back = await scene.store.get(digest, { bytesMax: size });
      expect(sha256Hex(back)).toBe(digest);
      expect(back.length).toBe(size);
    },
    60_000,
  );

  it("stores the same bytes again, from many writers at once", async () => {
    const bytes = Buffer.from("the same bytes");
    const digests = await Promise.all(Array.from({ length: 16 }, () => scene.store.put(bytes)));
    expect(new Set(digests)).toEqual(new Set([sha256Hex(bytes)]));
    expect(Buffer.from(await scene.store.get(sha256Hex(bytes), LIMITS))).toEqual(bytes);
  });

  it("stores a view into a larger buffer as what it is", async () => {
    const view = new Uint8Array(Buffer.from("abcdef").buffer.slice(0), 0, 3);
    const digest = await scene.store.put(view);
    expect(sha256Hex(await scene.store.get(digest, LIMITS))).toBe(sha256Hex(view));
  });

  it("says that an object is missing", async () => {
    const call = scene.store.get(sha256Hex("never stored"), LIMITS);
    await expect(call).rejects.toThrow(ObjectMissingError);
  });

  it("reads no more than it may", async () => {
    const digest = await scene.store.put(Buffer.alloc(1_001, "x"));
    await expect(scene.store.get(digest, { bytesMax: 1_000 })).rejects.toThrow(ObjectDamagedError);
  });

  it("does not hand out bytes that changed in the store; another put repairs a cut object", async () => {
    const bytes = Buffer.from("an honest model");
    const digest = await scene.store.put(bytes);
    for (const changed of [Buffer.from("an h0nest model"), bytes.subarray(0, 5), Buffer.alloc(0)]) {
      await scene.damage(digest, changed);
      await expect(scene.store.get(digest, LIMITS)).rejects.toThrow(ObjectDamagedError);
    }
    await scene.store.put(bytes);
    expect(Buffer.from(await scene.store.get(digest, LIMITS))).toEqual(bytes);
  });

  it("writes a file that is complete, or none", async () => {
    const bytes = Buffer.alloc(3_000_000, "dataset");
    const digest = await scene.store.put(bytes);
    const file = join(folder, "dataset.parquet");
    await scene.store.getToFile(digest, file, LIMITS);
    expect(await readFile(file)).toEqual(bytes);
    await scene.damage(digest, Buffer.from("other"));
    const other = join(folder, "other.parquet");
    await expect(scene.store.getToFile(digest, other, LIMITS)).rejects.toThrow(ObjectDamagedError);
    expect(await readdir(folder)).toEqual(["dataset.parquet"]);
  });

  it.each(["", "../x", "A".repeat(64), `${"a".repeat(63)}/`])("refuses %j as a digest", async (digest) => {
    await expect(scene.store.get(digest, LIMITS)).rejects.toThrow(RangeError);
  });
});

it("gives up on a store that never answers, and on one that is gone", async () => {
  const servers = await startTestServers({ s3: "minio" });
  const log = createLog("test", "silent");
  const store = createObjectStore({ ...servers.s3, bucket: BUCKET, log });
  await store.ensureBucket();
  const digest = await store.put(Buffer.from("before"));
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => sockets.add(socket)).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const hanging = createObjectStore({ ...servers.s3, url, bucket: BUCKET, log, attemptMs: 100 });
  await expect(hanging.get(digest, { bytesMax: 0 })).rejects.toThrow(ObjectStoreUnavailableError);
  for (const socket of sockets) socket.destroy();
  silent.close();
  expect(Buffer.from(await store.get(digest, LIMITS)).toString()).toBe("before");
  await servers.stop();
  await expect(store.put(Buffer.from("after"))).rejects.toThrow(ObjectStoreUnavailableError);
}, 300_000);

it("says so when the keys are wrong, at once", async () => {
  const servers = await startTestServers({ s3: "minio" });
  const log = createLog("test", "silent");
  const store = createObjectStore({ ...servers.s3, secretKey: "wrong-wrong", bucket: BUCKET, log });
  const started = Date.now();
  await expect(store.ensureBucket()).rejects.toThrow(ObjectStoreUnavailableError);
  expect(Date.now() - started).toBeLessThan(5_000);
  await servers.stop();
}, 300_000);
