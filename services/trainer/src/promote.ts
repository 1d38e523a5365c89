import type { Ports } from "./ports.ts";
import type { ServingReader, Version } from "./serving.ts";

export type Promotion = { readonly promoted: true } | { readonly promoted: false; readonly reason: string };

/**
 * Makes the version champion, by compare-and-set on the generation. When somebody else changes the aspired set
 * meanwhile it reads again: the same champion means try again, another one means that the verdict is about a version
 * of the past. Safe to repeat.
 */
export async function promote(
  version: Version,
  epoch: bigint,
  reason: string,
  serving: ServingReader,
  { registry, codeOf }: Pick<Ports, "registry" | "codeOf">,
): Promise<Promotion> {
  for (;;) {
    const { generation, championVersion } = await serving.read();
    if (championVersion === version.version) return { promoted: true };
    if (championVersion !== version.parentVersion) {
      return {
        promoted: false,
        reason: `version ${version.version} was judged against version ${version.parentVersion}, but version ${championVersion} serves meanwhile`,
      };
    }
    try {
      await registry.promote({
        line: version.line,
        version: version.version,
        expectedGeneration: generation,
        epoch,
        reason,
      });
      return { promoted: true };
    } catch (error) {
      if (codeOf(error) !== "aborted") throw error;
    }
  }
}
