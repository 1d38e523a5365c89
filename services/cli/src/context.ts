import { ObjectStoreUnavailableError, RpcError } from "@millrace/runtime";
import type { CliConfig } from "./config.ts";
import { errorText, Failure } from "./failure.ts";
import type { Io } from "./io.ts";
import type { Clients, Local, MeshAddress } from "./mesh.ts";

/** What every command gets. */
export interface Context {
  readonly io: Io;
  readonly config: CliConfig;
  readonly local: Local;
  readonly repository: string;
  readonly json: boolean;
  readonly now: () => number;
  /** Aborts at Ctrl-C. */
  readonly stop: AbortSignal;
  /** The mesh of the home folder. Throws a Failure when it was never started. */
  address(): Promise<MeshAddress>;
  /** Runs `work` with clients of the mesh, and closes them. A service that does not answer becomes a Failure. */
  withClients<T>(work: (clients: Clients, address: MeshAddress) => Promise<T>): Promise<T>;
}

/** The command that starts a mesh, as every message names it. */
export const START =
  "Start it with `npx millrace up --detach` (or `npm start` for the flights demonstration).";

export function createContext(
  options: Pick<Context, "io" | "config" | "local" | "repository" | "json" | "now" | "stop">,
  connect: (address: MeshAddress) => Clients,
): Context {
  const address = async (): Promise<MeshAddress> => {
    const found = await options.local.address();
    if (found !== null) return found;
    throw new Failure(`there is no mesh in ${options.local.home}`, START);
  };
  return {
    ...options,
    address,
    withClients: async (work) => {
      const found = await address();
      const clients = connect(found);
      try {
        return await work(clients, found);
      } catch (error) {
        throw toFailure(error, options.local.home) ?? error;
      } finally {
        await clients.close().catch(() => {});
      }
    },
  };
}

/** The error as something the user can act on; null: it is a defect. */
export function toFailure(error: unknown, home: string): Failure | null {
  if (error instanceof Failure) return error;
  if (error instanceof ObjectStoreUnavailableError) {
    return new Failure(
      `the object store of the mesh in ${home} does not answer`,
      `${START} \`npx millrace doctor\` says what is reachable.`,
      { cause: error },
    );
  }
  if (!(error instanceof RpcError)) return null;
  if (error.code === "unavailable") {
    return new Failure(
      `the mesh in ${home} is down, or its ${serviceOf(error)} does not answer`,
      `${START} \`npx millrace doctor\` says what is reachable.`,
      { cause: error },
    );
  }
  const text = errorText(error).replace(/^[\w./]+: /, "");
  return new Failure(text, REMEDIES[error.code] ?? "The service's log has the cause.", { cause: error });
}

/** `millrace.registry.v1.RegistryService/ListLines: ...` -> `registry`. */
function serviceOf(error: RpcError): string {
  const found = /^(?:millrace\.(\w+)\.|(inference)\.)/.exec(error.message);
  return found?.[1] ?? found?.[2] ?? "service";
}

const REMEDIES: Readonly<Partial<Record<RpcError["code"], string>>> = {
  deadlineExceeded: "The service is busy or stuck: `npx millrace doctor` says which.",
  unauthenticated: "The mesh has other secrets than this folder: name its folder with --home.",
  notFound: "`npx millrace lines` and `npx millrace versions LINE` show what there is.",
  invalidArgument: "Correct what the message names.",
  failedPrecondition: "`npx millrace versions LINE` shows the state that is in the way.",
  aborted: "Somebody else changed it at the same time: try again.",
};
