/**
 * The port to the object store: immutable bytes named by their SHA-256. The adapter is `libs/objects`; services
 * name only this port. Every operation ends within a deadline.
 */
export interface ObjectStore {
  /** Creates the bucket when it is missing; tries again while the store is away, until the signal aborts. */
  ensureBucket(signal?: AbortSignal): Promise<void>;
  /**
   * Stores bytes and answers their digest. Storing the same bytes again does nothing. When it resolves, the bytes
   * are readable by everyone. Throws an ObjectStoreUnavailableError: try again later, with the same bytes.
   */
  put(bytes: Uint8Array): Promise<string>;
  /** How many bytes are stored under a digest; null: none. Throws an ObjectStoreUnavailableError: try again later. */
  size(digest: string): Promise<number | null>;
  /**
   * The bytes of a digest, hashed again after the transfer. Reads no more than `bytesMax`.
   * Throws an ObjectMissingError, an ObjectDamagedError or an ObjectStoreUnavailableError.
   */
  get(digest: string, limits: { readonly bytesMax: number }): Promise<Uint8Array>;
  /** Like `get`, into a file that appears only when its content is complete and verified. */
  getToFile(digest: string, file: string, limits: { readonly bytesMax: number }): Promise<void>;
  /**
   * Removes objects that nothing names any more; what is not there is no error. The caller must know that nobody else
   * stores, or relies on, the same bytes. Throws an ObjectStoreUnavailableError: some may be removed.
   */
  remove(digests: readonly string[]): Promise<void>;
}

/** The key of a digest in the bucket, for example `sha256/ab/ab12...`. Throws a RangeError when it is no digest. */
export function objectKey(digest: string): string {
  if (!/^[0-9a-f]{64}$/.test(digest)) {
    throw new RangeError(
      `"${digest.slice(0, 80)}" is not a SHA-256 digest: 64 lower-case hex digits expected`,
    );
  }
  return `sha256/${digest.slice(0, 2)}/${digest}`;
}

/** The store answers and does not have the object. */
export class ObjectMissingError extends Error {
  readonly digest: string;
  constructor(digest: string, options?: ErrorOptions) {
    super(`object ${digest} is not in the store: store it again, or choose another version`, options);
    this.name = "ObjectMissingError";
    this.digest = digest;
  }
}

/** What the store holds under this digest are not its bytes. Storing them again repairs it where the size differs. */
export class ObjectDamagedError extends Error {
  readonly digest: string;
  constructor(digest: string, problem: string) {
    super(`object ${digest} is damaged: ${problem}`);
    this.name = "ObjectDamagedError";
    this.digest = digest;
  }
}

/** The store is away, slow or refuses. Nothing is known about the object; try again later. */
export class ObjectStoreUnavailableError extends Error {
  constructor(operation: string, reason: string, options?: ErrorOptions) {
    super(`object store: ${operation} failed: ${reason}`, options);
    this.name = "ObjectStoreUnavailableError";
  }
}
