import { readFile } from "node:fs/promises";
import { writeFileDurably } from "@millrace/runtime";
import type { MemberMemory } from "./broker.ts";

/** A member's place in its group, in a file of a folder that is one process's own. */
export function memberFile(file: string): MemberMemory {
  return {
    read: () =>
      readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      }),
    write: (id) => writeFileDurably(file, id),
  };
}

/** A member's place for as long as the process lives: after a kill its group waits until it has missed it. */
export function passingMember(): MemberMemory {
  let id: string | null = null;
  return {
    read: async () => id,
    write: async (written) => {
      id = written;
    },
  };
}
