import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { writeFileDurably } from "@millrace/runtime";

/**
 * Who this trainer is when it asks for leases, for example `host/0b9c...`. Kept in the data folder: a trainer that
 * restarts is the same holder, and goes on at once instead of waiting for its own lease to run out.
 */
export async function readHolder(data: string): Promise<string> {
  const file = join(data, "holder");
  const known = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  if (known !== "") return known;
  const holder = `${hostname()}/${randomUUID()}`;
  await writeFileDurably(file, holder);
  return holder;
}
