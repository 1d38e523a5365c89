import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import {
  ObjectDamagedError,
  ObjectMissingError,
  type ObjectStore,
  ObjectStoreUnavailableError,
  objectKey,
  sha256Hex,
} from "@millrace/runtime";

/** An object store in memory that a test can take away or damage. */
export interface MemoryObjects extends ObjectStore {
  /** While false, every operation throws an ObjectStoreUnavailableError. */
  available: boolean;
  /** Replaces what is stored under a digest, as a broken disk would. */
  damage(digest: string, bytes: Uint8Array): void;
  /** How many objects there are. */
  readonly count: number;
  /** How often `get` and `getToFile` were called. */
  reads: number;
}

export function memoryObjects(): MemoryObjects {
  const stored = new Map<string, Uint8Array>();
  const check = (operation: string): void => {
    if (!store.available) throw new ObjectStoreUnavailableError(operation, "it is away");
  };
  const store: MemoryObjects = {
    available: true,
    reads: 0,
    get count() {
      return stored.size;
    },
    ensureBucket: async () => check("ensure the bucket"),
    put: async (bytes) => {
      const digest = sha256Hex(bytes);
      check(`put ${digest}`);
      if (stored.get(objectKey(digest))?.length !== bytes.length)
        stored.set(objectKey(digest), bytes.slice());
      return digest;
    },
    size: async (digest) => {
      const key = objectKey(digest);
      check(`look for ${digest}`);
      return stored.get(key)?.length ?? null;
    },
    get: async (digest, { bytesMax }) => {
      const key = objectKey(digest);
      store.reads++;
      check(`get ${digest}`);
      const bytes = stored.get(key);
      if (bytes === undefined) throw new ObjectMissingError(digest);
      if (bytes.length > bytesMax)
        throw new ObjectDamagedError(digest, `it is larger than ${bytesMax} bytes`);
      if (sha256Hex(bytes) !== digest) throw new ObjectDamagedError(digest, "its bytes have another digest");
      return bytes.slice();
    },
    getToFile: async (digest, file, limits) => {
      const bytes = await store.get(digest, limits);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, bytes);
    },
    remove: async (digests) => {
      const keys = digests.map(objectKey);
      check("remove");
      for (const key of keys) stored.delete(key);
    },
    damage: (digest, bytes) => void stored.set(objectKey(digest), bytes),
  };
  return store;
}
