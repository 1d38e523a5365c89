/**
 * The keeper of one instance: `keeper.ts HOME [temporary]`. Its standard input ends when its supervisor does, then
 * it stops what is left of the instance, and removes the folder of a temporary one.
 */
import { rm } from "node:fs/promises";
import { keepHouse } from "./supervisor.ts";

const [home, temporary] = process.argv.slice(2);
if (home === undefined) throw new Error("usage: keeper.ts HOME [temporary]");
for await (const _ of process.stdin);
await keepHouse(home);
if (temporary !== undefined) await rm(home, { recursive: true, force: true });
