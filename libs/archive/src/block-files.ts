import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ObjectStore } from "@millrace/runtime";
import type { Block } from "@millrace/stream";

/** What a block's file needs to be fetched and verified. */
export type StoredBlock = Pick<Block, "digest" | "bytes">;

const BYTES_MAX = 2 * 1024 ** 3;
const FETCHES_MAX = 8;

/** Local copies of archived blocks, named by digest; those least recently used are forgotten. */
export class BlockFiles {
  readonly #folder: string;
  readonly #objects: Pick<ObjectStore, "getToFile">;

  constructor(folder: string, objects: Pick<ObjectStore, "getToFile">) {
    this.#folder = folder;
    this.#objects = objects;
  }

  /** Where the block lies, or will lie. */
  file(digest: string): string {
    return join(this.#folder, `${digest}.parquet`);
  }

  /** Keeps bytes whose digest the caller has computed. */
  async keep(digest: string, bytes: Uint8Array): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const file = this.file(digest);
    await writeFile(`${file}.tmp`, bytes);
    await rename(`${file}.tmp`, file);
  }

  /** Fetches what is missing, verified against its digest, then forgets the files least recently used. */
  async fetch(blocks: readonly StoredBlock[]): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const waiting = [...blocks];
    const worker = async (): Promise<void> => {
      for (let block = waiting.pop(); block !== undefined; block = waiting.pop()) await this.#fetchOne(block);
    };
    await Promise.all(Array.from({ length: FETCHES_MAX }, worker));
    await this.#forget(new Set(blocks.map((block) => `${block.digest}.parquet`)));
  }

  async #fetchOne({ digest, bytes }: StoredBlock): Promise<void> {
    const file = this.file(digest);
    const now = new Date();
    const there = await utimes(file, now, now).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return false;
        throw error;
      },
    );
    if (!there) await this.#objects.getToFile(digest, file, { bytesMax: bytes });
  }

  async #forget(inUse: ReadonlySet<string>): Promise<void> {
    // Files that are being written have another name.
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith(".parquet"));
    const files = await Promise.all(
      names.map(async (name) => {
        const { size, mtimeMs } = await stat(join(this.#folder, name));
        return { name, size, mtimeMs };
      }),
    );
    let bytes = files.reduce((sum, file) => sum + file.size, 0);
    for (const { name, size } of files.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
      if (bytes <= BYTES_MAX) return;
      if (inUse.has(name)) continue;
      await rm(join(this.#folder, name), { force: true });
      bytes -= size;
    }
  }
}
