import { createHash, webcrypto } from "node:crypto";
import { canonicalJson } from "@millrace/contracts";
import {
  ObjectDamagedError,
  ObjectMissingError,
  type ObjectStore,
  ObjectStoreUnavailableError,
  sleep,
} from "@millrace/runtime";
import type { Checkpoint, CheckpointStore } from "./checkpoint.ts";
import { CheckpointEncoder, decodeCheckpoint } from "./checkpoint-codec.ts";

/** State changes in places: pieces of this size that did not change are not stored again. */
const PIECE_BYTES = 1024 * 1024;
const MARK_BYTES = 32;
const MANIFEST_BYTES_MAX = 64 * 1024 * 1024;
/** Pieces on their way at once. */
const PARALLEL = 4;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;

/** A checkpoint in the object store. */
export interface CheckpointPointer {
  /** SHA-256 of its manifest, which names its pieces. */
  readonly manifest: string;
  readonly version: string;
  /** Next offset to read, by input topic. */
  readonly offsets: Readonly<Record<string, number>>;
  readonly bytes: number;
}

/** The port to the index of a step's checkpoints. Both calls reject with a CheckpointIndexUnavailableError (ask again). */
export interface CheckpointIndex {
  /**
   * Makes the caller the owner of a partition, with an epoch above all before, and answers the checkpoints that are
   * kept, newest first.
   */
  acquire(
    partition: number,
  ): Promise<{ readonly epoch: number; readonly newest: readonly CheckpointPointer[] }>;
  /**
   * Adds a checkpoint as the newest, and drops the oldest. Rejects with a FencedError when the epoch is not the newest
   * owner's.
   */
  put(partition: number, epoch: number, pointer: CheckpointPointer): Promise<IndexedManifests>;
}

/** The manifests of a partition's checkpoints that are indexed, and those that were until now. */
export interface IndexedManifests {
  readonly kept: readonly string[];
  readonly dropped: readonly string[];
}

/** The index of checkpoints is away or slow. */
export class CheckpointIndexUnavailableError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CheckpointIndexUnavailableError";
  }
}

interface Manifest {
  readonly form: 2;
  /** Each section in order: its size, and its pieces by digest. */
  readonly sections: readonly { readonly bytes: number; readonly pieces: readonly string[] }[];
}

/** A store that others write as well. */
export interface SharedCheckpointStore extends CheckpointStore {
  /** Like `load`; null also when what there is has not read further than these offsets. */
  loadNewer(
    partition: number,
    version: string | null,
    signal: AbortSignal,
    offsets: Checkpoint["offsets"],
  ): Promise<Checkpoint | null>;
}

/**
 * Checkpoints in the object store, for a partition that moves to another machine: pieces and a manifest named by
 * their SHA-256, and an index that says which is the newest.
 *
 * A piece begins with the digest of the step's name and the partition, so that no other partition's checkpoints name
 * it. The owner removes what only dropped checkpoints name, after each save. An owner that is killed in between leaves
 * its share of one checkpoint behind. One that has lost its partition meanwhile could take away a piece that the next
 * owner comes to need in the same moment: the one before, or the archive, then stands in for that checkpoint.
 */
export function objectCheckpoints(
  step: string,
  objects: ObjectStore,
  index: CheckpointIndex,
): SharedCheckpointStore {
  const encoder = new CheckpointEncoder();
  /** Manifests that are not indexed any more and whose pieces are still there, by partition. */
  const doomed = new Map<number, Set<string>>();
  const epochs = new Map<number, number>();
  /** The pieces of the newest checkpoint that this process has loaded or saved, by partition. */
  const known = new Map<number, ReadonlySet<string>>();

  const acquire = async (partition: number): Promise<readonly CheckpointPointer[]> => {
    const { epoch, newest } = await index.acquire(partition);
    epochs.set(partition, epoch);
    return newest;
  };

  const store = async (
    partition: number,
    sections: readonly Uint8Array[],
    there: ReadonlySet<string>,
  ): Promise<Manifest> => {
    const mark = markOf(step, partition);
    const stored = sections.map(({ length }) => ({ bytes: length, pieces: [] as string[] }));
    const pieces = sections.flatMap((bytes, section) =>
      Array.from({ length: Math.ceil(bytes.length / PIECE_BYTES) }, (_, i) => ({
        section,
        i,
        bytes: bytes.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES),
      })),
    );
    await inParallel(pieces, async ({ section, i, bytes }) => {
      const piece = new Uint8Array(MARK_BYTES + bytes.length);
      piece.set(mark);
      piece.set(bytes, MARK_BYTES);
      const digest = await sha256(piece);
      if (!there.has(digest)) await objects.put(piece);
      (stored[section] as (typeof stored)[number]).pieces[i] = digest;
    });
    return { form: 2, sections: stored };
  };

  const fetch = async (partition: number, pointer: CheckpointPointer): Promise<Checkpoint> => {
    const { sections } = await readManifest(objects, pointer.manifest);
    const memory = sections.map((section) => new Uint8Array(section.bytes));
    const pieces = sections.flatMap((section, s) =>
      section.pieces.map((digest, i) => ({ digest, to: memory[s] as Uint8Array, at: i * PIECE_BYTES })),
    );
    await inParallel(pieces, async ({ digest, to, at }) => {
      const piece = await objects.get(digest, { bytesMax: MARK_BYTES + PIECE_BYTES });
      to.set(piece.subarray(MARK_BYTES), at);
    });
    known.set(partition, new Set(pieces.map(({ digest }) => digest)));
    return decodeCheckpoint(memory);
  };

  /** Removes what only checkpoints name that are not indexed; what cannot be removed now is tried again next time. */
  const sweep = async (partition: number, { kept, dropped }: IndexedManifests): Promise<void> => {
    const gone = doomed.get(partition) ?? new Set();
    doomed.set(partition, gone);
    for (const manifest of dropped) gone.add(manifest);
    for (const manifest of kept) gone.delete(manifest);
    if (gone.size === 0) return;
    try {
      const named = new Set((await Promise.all(kept.map((one) => piecesOf(objects, one)))).flat());
      for (const manifest of gone) {
        const pieces = new Set(await piecesOf(objects, manifest));
        await objects.remove([...pieces].filter((piece) => !named.has(piece)));
        await objects.remove([manifest]);
        gone.delete(manifest);
      }
    } catch (error) {
      if (!(error instanceof ObjectStoreUnavailableError)) throw error;
    }
  };

  const loadNewer: SharedCheckpointStore["loadNewer"] = async (partition, version, signal, offsets) => {
    const newest = await patiently(() => acquire(partition), signal);
    for (const pointer of newest) {
      if (version !== null && pointer.version !== version) continue;
      if (!hasReadFurther(pointer.offsets, offsets)) continue;
      try {
        return await patiently(() => fetch(partition, pointer), signal);
      } catch (error) {
        // An older one is as good: more is read again.
        if (!(error instanceof ObjectMissingError) && !(error instanceof ObjectDamagedError)) throw error;
      }
    }
    return null;
  };

  return {
    loadNewer,
    load: (partition, version, signal) => loadNewer(partition, version, signal, {}),
    save: async (partition, checkpoint) => {
      const { sections, release } = encoder.encode(checkpoint);
      try {
        const manifest = await store(partition, sections, known.get(partition) ?? new Set());
        const { version, offsets } = checkpoint;
        const pointer: CheckpointPointer = {
          manifest: await objects.put(Buffer.from(canonicalJson(manifest))),
          version,
          offsets,
          bytes: sections.reduce((sum, { length }) => sum + length, 0),
        };
        // The index was away when the partition was taken over.
        if (!epochs.has(partition)) await acquire(partition);
        const indexed = await index.put(partition, epochs.get(partition) as number, pointer);
        known.set(partition, new Set(manifest.sections.flatMap(({ pieces }) => pieces)));
        await sweep(partition, indexed);
      } finally {
        release();
      }
    },
  };
}

/** Whether offsets, by topic, are further on than others. All are further than none. */
function hasReadFurther(offsets: Checkpoint["offsets"], others: Checkpoint["offsets"]): boolean {
  const total = (by: Checkpoint["offsets"]): number => Object.values(by).reduce((sum, one) => sum + one, 0);
  return Object.keys(others).length === 0 || total(offsets) > total(others);
}

async function readManifest(objects: ObjectStore, digest: string): Promise<Manifest> {
  const bytes = await objects.get(digest, { bytesMax: MANIFEST_BYTES_MAX });
  return JSON.parse(Buffer.from(bytes).toString("utf8")) as Manifest;
}

/** The pieces that a manifest names; none when it is lost. */
async function piecesOf(objects: ObjectStore, manifest: string): Promise<readonly string[]> {
  try {
    return (await readManifest(objects, manifest)).sections.flatMap(({ pieces }) => pieces);
  } catch (error) {
    if (error instanceof ObjectMissingError || error instanceof ObjectDamagedError) return [];
    throw error;
  }
}

/** What the pieces of a partition begin with. */
function markOf(step: string, partition: number): Uint8Array {
  return createHash("sha256").update(`${step}/${partition}`).digest();
}

async function sha256(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toString(
    "hex",
  );
}

/**
 * Works through items in order, a few at a time. Rejects with the first failure, and not before all work has ended:
 * what it reads must not be used for something else meanwhile.
 */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const item of left) {
      if (failures.length > 0) return;
      await work(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  if (failures.length > 0) throw failures[0];
}

/** Tries again while store or index is away, until the signal aborts: then throws the signal's reason. */
async function patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let waitMs = RETRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)) {
    try {
      return await work();
    } catch (error) {
      const isAway =
        error instanceof ObjectStoreUnavailableError || error instanceof CheckpointIndexUnavailableError;
      if (!isAway) throw error;
      await sleep(waitMs, signal);
      signal.throwIfAborted();
    }
  }
}
