import { registryApi } from "@millrace/contracts";
import type { Unary } from "./grpc-channel.ts";
import { type Plain, plain } from "./plain.ts";
import type { CallOptions } from "./retry.ts";

export type RegisteredLine = Plain<registryApi.Line>;
export type RegisteredVersion = Plain<registryApi.Version>;
export type AspiredSet = Plain<registryApi.AspiredSet>;

/** What the registry knows, to read. The fields are those of `millrace.registry.v1`. */
export interface Registry {
  lines(options?: CallOptions): Promise<readonly RegisteredLine[]>;
  /** Every version, and the version of each alias, for example `champion`. */
  versions(
    line: string,
    options?: CallOptions,
  ): Promise<{
    readonly versions: readonly RegisteredVersion[];
    readonly aliases: Readonly<Record<string, number>>;
  }>;
  /** What serves now; null: nothing yet. */
  aspired(line: string, options?: CallOptions): Promise<AspiredSet | null>;
  /** What served, newest first. */
  history(line: string, options?: CallOptions): Promise<readonly AspiredSet[]>;
}

/** `registry` over gRPC. */
export function registryVia(unary: Unary): Registry {
  const { listLines, listVersions, getAspiredSet, getHistory } = registryApi.RegistryService.method;
  return {
    lines: async (options) => plain((await unary(listLines, {}, options)).lines),
    versions: async (line, options) => {
      const { versions, aliases } = plain(await unary(listVersions, { line }, options));
      return { versions, aliases };
    },
    aspired: async (line, options) => plain((await unary(getAspiredSet, { line }, options)).sets)[0] ?? null,
    history: async (line, options) => plain((await unary(getHistory, { line }, options)).sets),
  };
}
