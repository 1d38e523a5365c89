import type { registryApi } from "@millrace/contracts";
import { BASELINE_RECIPE } from "@millrace/versions";
import type { Registry } from "./ports.ts";

export type Version = registryApi.Version;

/** What serves now, as the registry has it. */
export interface Serving {
  readonly generation: bigint;
  /** Version number of the champion; 0: none. */
  readonly championVersion: bigint;
  /** The champion, if it understands the line's features of today; else null: it cannot be compared with. */
  readonly champion: Version | null;
  /** The rollout that is on. */
  readonly rollout: registryApi.Rollout | null;
}

/** Reads what serves a line. The registry's versions do not change: they are read again only for a new champion. */
export class ServingReader {
  readonly #line: string;
  readonly #featureDigest: string;
  readonly #registry: Registry;
  #champion: Version | null = null;

  constructor(line: string, featureDigest: string, registry: Registry) {
    this.#line = line;
    this.#featureDigest = featureDigest;
    this.#registry = registry;
  }

  async read(): Promise<Serving> {
    const { sets } = await this.#registry.getAspiredSet({ line: this.#line });
    const set = sets.find(({ line }) => line === this.#line);
    const version = set?.models.find(({ role }) => role === "champion")?.version ?? 0n;
    if (version !== (this.#champion?.version ?? 0n)) {
      this.#champion = (await this.versions()).find((known) => known.version === version) ?? null;
    }
    const champion = this.#champion?.featureDigest === this.#featureDigest ? this.#champion : null;
    return {
      generation: set?.generation ?? 0n,
      championVersion: version,
      champion,
      rollout: set?.rollout ?? null,
    };
  }

  async versions(): Promise<readonly Version[]> {
    return (await this.#registry.listVersions({ line: this.#line })).versions;
  }
}

/** Whether the version has learnt from examples. */
export function isTrained(version: Version): boolean {
  return version.recipe !== BASELINE_RECIPE;
}
