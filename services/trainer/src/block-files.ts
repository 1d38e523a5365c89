import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Block } from "@millrace/datasets";
import type { ObjectStore } from "@millrace/runtime";
import type { ParquetFiles } from "./ports.ts";

const BYTES_MAX = 2 * 1024 ** 3;
const FETCHES_MAX = 8;

/** Local copies of example blocks, named by digest, so that a build need not fetch what this trainer archived itself. */
export class BlockFiles {
  readonly #folder: string;
  readonly #objects: ObjectStore;
  readonly #parquet: ParquetFiles;
  /** Feature digest by block digest; blocks do not change. */
  readonly #features = new Map<string, string>();

  constructor(folder: string, objects: ObjectStore, parquet: ParquetFiles) {
    this.#folder = folder;
    this.#objects = objects;
    this.#parquet = parquet;
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
  async fetch(blocks: readonly Block[]): Promise<void> {
    const waiting = [...blocks];
    const worker = async (): Promise<void> => {
      for (let block = waiting.pop(); block !== undefined; block = waiting.pop()) await this.#fetchOne(block);
    };
    await Promise.all(Array.from({ length: FETCHES_MAX }, worker));
    await this.#forget(new Set(blocks.map((block) => `${block.digest}.parquet`)));
  }

  /** The digest of the feature definition that computed the block's rows; the file must be there. */
  async featureDigest(block: Block): Promise<string> {
    const known = this.#features.get(block.digest);
    if (known !== undefined) return known;
    const { columns } = await this.#parquet.read([this.file(block.digest)], { features: "text" });
    const digest = [...new Set(columns.features)].join("+");
    this.#features.set(block.digest, digest);
    return digest;
  }

  async #fetchOne({ digest, bytes }: Block): Promise<void> {
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
    await mkdir(this.#folder, { recursive: true });
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
