import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { dirname } from "node:path";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  type Log,
  ObjectDamagedError,
  ObjectMissingError,
  type ObjectStore,
  ObjectStoreUnavailableError,
  objectKey,
  sha256Hex,
  sleep,
} from "@millrace/runtime";
import { Client, S3Error } from "minio";

export interface ObjectStoreOptions {
  /** For example `http://127.0.0.1:9000`. */
  readonly url: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly bucket: string;
  readonly log: Log;
  /** Default `us-east-1`, which local servers accept. */
  readonly region?: string;
  /** Time that one attempt may take, besides a second for each megabyte. Default 10 s. */
  readonly attemptMs?: number;
}

const ATTEMPTS = 3;
const PAUSE_MS = 200;
const ENSURE_PAUSE_MS = 500;
const DEFAULT_ATTEMPT_MS = 10_000;
const MEGABYTE = 1024 * 1024;
/** One PUT per object: the client would otherwise join the unfinished upload of somebody else's same key. */
const SINGLE_PUT_BYTES_MAX = 5 * 1024 * MEGABYTE;

/** Connects lazily: a store that is away is reported by the operations. Throws a TypeError when `url` is no URL. */
export function createObjectStore(options: ObjectStoreOptions): ObjectStore {
  const { bucket, log } = options;
  const url = new URL(options.url);
  const secure = url.protocol === "https:";
  const { request, Agent } = secure ? https : http;
  const agent = new Agent({ keepAlive: true });

  // The client has no deadlines of its own: each attempt gets a client whose requests end with the signal.
  const connect = (signal: AbortSignal): Client =>
    new Client({
      endPoint: url.hostname,
      ...(url.port === "" ? {} : { port: Number(url.port) }),
      useSSL: secure,
      accessKey: options.accessKey,
      secretKey: options.secretKey,
      region: options.region ?? "us-east-1",
      partSize: SINGLE_PUT_BYTES_MAX,
      retryOptions: { disableRetry: true },
      transport: {
        request: (target, answered) =>
          request({ ...(target as https.RequestOptions), agent, signal }, answered as () => void),
      },
    });

  /** One attempt: `work` within a deadline that leaves a second for each megabyte, its connection closed after it. */
  const attempt = async <T>(
    operation: string,
    bytes: number,
    work: (client: Client) => Promise<T>,
  ): Promise<T> => {
    const deadlineMs = (options.attemptMs ?? DEFAULT_ATTEMPT_MS) + (bytes / MEGABYTE) * 1_000;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), deadlineMs);
    try {
      return await work(connect(abort.signal));
    } catch (error) {
      const late = abort.signal.aborted;
      abort.abort();
      if (late) {
        throw new ObjectStoreUnavailableError(operation, `no answer within ${Math.round(deadlineMs)} ms`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  };

  /** Attempts until one succeeds, or fails in a way that another attempt would not change. */
  const attempts = async <T>(
    operation: string,
    bytes: number,
    work: (client: Client) => Promise<T>,
  ): Promise<T> => {
    for (let n = 1; ; n++) {
      try {
        return await attempt(operation, bytes, work);
      } catch (error) {
        if (error instanceof ObjectMissingError || error instanceof ObjectDamagedError) throw error;
        if (n === ATTEMPTS || (error instanceof S3Error && !isPassing(error)))
          throw unavailable(operation, error);
        log.warn({ err: error, operation, attempt: n }, "object store: trying again");
        await sleep(PAUSE_MS * 4 ** (n - 1));
      }
    }
  };

  const unavailable = (operation: string, error: unknown): Error => {
    if (error instanceof ObjectStoreUnavailableError) return error;
    const code = (error as { code?: string }).code;
    const reason =
      code === "NoSuchBucket"
        ? `bucket "${bucket}" does not exist yet`
        : `${code === undefined ? "" : `${code} `}${(error as Error).message}`;
    return new ObjectStoreUnavailableError(operation, reason, { cause: error });
  };

  const storedSize = (client: Client, key: string): Promise<number | null> =>
    client.statObject(bucket, key).then(
      (found) => found.size,
      (error: unknown) => {
        if (isMissing(error)) return null;
        throw error;
      },
    );

  /** The object's content as a stream whose end means: complete, within the limit, and hashed to the digest. */
  const verified = async (
    client: Client,
    key: string,
    digest: string,
    bytesMax: number,
  ): Promise<Readable> => {
    const source = await client.getObject(bucket, key).catch((error: unknown) => {
      throw isMissing(error) ? new ObjectMissingError(digest, { cause: error }) : error;
    });
    const hash = createHash("sha256");
    let bytes = 0;
    const check = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        if (bytes > bytesMax)
          return done(new ObjectDamagedError(digest, `it is larger than ${bytesMax} bytes`));
        hash.update(chunk);
        done(null, chunk);
      },
      flush(done) {
        const found = hash.digest("hex");
        done(
          found === digest ? null : new ObjectDamagedError(digest, `its ${bytes} bytes have digest ${found}`),
        );
      },
    });
    // Errors of either stream reach the reader of `check`; the promise only repeats them.
    pipeline(source, check).catch(() => {});
    return check;
  };

  return {
    ensureBucket: async (signal) => {
      for (;;) {
        try {
          return await attempt("ensure the bucket", 0, async (client) => {
            if (!(await client.bucketExists(bucket))) await client.makeBucket(bucket).catch(unlessThere);
          });
        } catch (error) {
          if (signal?.aborted || (error instanceof S3Error && !isPassing(error))) {
            throw unavailable("ensure the bucket", error);
          }
          log.warn({ err: error, bucket }, "object store: waiting for it");
          await sleep(ENSURE_PAUSE_MS, signal);
        }
      }
    },

    put: async (bytes) => {
      const digest = sha256Hex(bytes);
      const key = objectKey(digest);
      if (bytes.length > SINGLE_PUT_BYTES_MAX)
        throw new RangeError(`${bytes.length} bytes are more than 5 GiB`);
      await attempts(`put ${digest}`, bytes.length, async (client) => {
        if ((await storedSize(client, key)) === bytes.length) return;
        await client.putObject(
          bucket,
          key,
          Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
          bytes.length,
        );
      });
      return digest;
    },

    size: async (digest) => {
      const key = objectKey(digest);
      return attempts(`look for ${digest}`, 0, (client) => storedSize(client, key));
    },

    get: async (digest, { bytesMax }) => {
      const key = objectKey(digest);
      return attempts(`get ${digest}`, bytesMax, async (client) => {
        const chunks: Buffer[] = [];
        for await (const chunk of await verified(client, key, digest, bytesMax)) chunks.push(chunk as Buffer);
        return Buffer.concat(chunks);
      });
    },

    getToFile: async (digest, file, { bytesMax }) => {
      const key = objectKey(digest);
      return attempts(`get ${digest}`, bytesMax, async (client) => {
        const temporary = `${file}.tmp`;
        const content = await verified(client, key, digest, bytesMax);
        await mkdir(dirname(file), { recursive: true });
        try {
          await pipeline(content, createWriteStream(temporary, { mode: 0o600, flush: true }));
          await rename(temporary, file);
        } catch (error) {
          await rm(temporary, { force: true });
          throw error;
        }
        const folder = await open(dirname(file), "r");
        try {
          await folder.sync();
        } finally {
          await folder.close();
        }
      });
    },

    remove: async (digests) => {
      for (const key of digests.map(objectKey)) {
        await attempts(`remove ${key}`, 0, (client) => client.removeObject(bucket, key));
      }
    },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof S3Error && (error.code === "NoSuchKey" || error.code === "NotFound");
}

/** Whether the store may answer differently in a moment. Everything else is a matter of keys and configuration. */
function isPassing(error: S3Error): boolean {
  return [
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
    "",
  ].includes(error.code ?? "");
}

/** Somebody else created the bucket in the meantime. */
function unlessThere(error: unknown): void {
  const code = (error as { code?: string }).code ?? "";
  if (code !== "BucketAlreadyOwnedByYou" && code !== "BucketAlreadyExists") throw error;
}
