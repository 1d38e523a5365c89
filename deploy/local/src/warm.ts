/** Builds everything that tests need into the cache, with a line about each build. */
import { ensureAll, ensureVersitygw } from "./builds.ts";
import { progressLine } from "./cache.ts";

const onProgress = (progress: Parameters<typeof progressLine>[0]): void => {
  process.stdout.write(`${progressLine(progress)}\n`);
};
await ensureAll({ onProgress });
await ensureVersitygw({ onProgress });
