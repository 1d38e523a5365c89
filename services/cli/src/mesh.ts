import type { KeyObject } from "node:crypto";
import type { ArchivePorts, ScanModule } from "@millrace/archive";
import type { featureApi, GRPCInferenceService, registryApi } from "@millrace/contracts";
import type { ServePolicy } from "@millrace/lines";
import type { Model } from "@millrace/onnx";
import type { ModelSignature } from "@millrace/onnx-graph";
import type { Parquet } from "@millrace/parquet";
import type { ObjectStore } from "@millrace/runtime";
import type { Block, Broker } from "@millrace/stream";
import type { RpcClient } from "./wiring.ts";

/** The services, in the order in which an event meets them. */
export const SERVICES = ["registry", "ingest", "feature", "inference", "trainer"] as const;
export type ServiceName = (typeof SERVICES)[number];

/** How a mesh is reached. */
export interface MeshAddress {
  readonly home: string;
  readonly kafka: { readonly brokers: string; readonly username?: string; readonly password?: string };
  readonly nats: { readonly url: string; readonly token?: string };
  readonly s3: { readonly url: string; readonly accessKey: string; readonly secretKey: string };
  /** `host:port` of the gRPC services. */
  readonly registry: string;
  readonly feature: string;
  readonly inference: string;
  /** `http://host:port` of the inference service's REST. */
  readonly inferenceHttp: string;
  readonly token: string;
  /** `http://host:port` of each service's ops port. */
  readonly ops: Readonly<Record<ServiceName, string>>;
}

/** Typed clients of a mesh. They connect when they are first used. */
export interface Clients {
  readonly registry: RpcClient<typeof registryApi.RegistryService>;
  readonly feature: RpcClient<typeof featureApi.FeatureService>;
  readonly inference: RpcClient<typeof GRPCInferenceService>;
  readonly broker: Broker;
  /** Archived blocks of a topic, in any order. */
  archivedBlocks(topic: string): Promise<readonly Block[]>;
  readonly archive: ArchivePorts;
  readonly tables: Tables;
  readonly objects: ObjectStore;
  /** Loads a model as an inference node does. */
  loadModel(bytes: Uint8Array, serve: ServePolicy): Promise<LoadedModel>;
  /** Requests made up for a signature: of 1 row and, where the model batches, of 64. The caller may change them. */
  madeUpRequests(signature: ModelSignature): readonly ModelRequest[];
  close(): Promise<void>;
}

/** A model in this process. */
export type LoadedModel = Pick<Model, "run" | "score" | "release">;
/** Its inputs, by name. */
export type ModelRequest = Parameters<LoadedModel["run"]>[0];

/** Tables in files of the user's, and how threads read archived ones. */
export interface Tables extends Pick<Parquet, "openTable" | "write"> {
  readonly scan: ScanModule;
}

/** Something that the supervisor runs: a server or a service. */
export interface Part {
  readonly name: string;
  readonly kind: "server" | "service";
  readonly state: string;
}

/** A mesh that this process runs. */
export interface RunningMesh {
  /** For clients such as a producer: the servers and credentials as MILLRACE_* variables. Holds secrets. */
  readonly environment: Readonly<Record<string, string>>;
  status(): readonly Part[];
  /** Stops everything that was started, in reverse order. */
  stop(): Promise<void>;
}

/** The mesh on this machine. */
export interface Local {
  /** The folder with its data, ports and secrets. */
  readonly home: string;
  /** null: it was never started. */
  address(): Promise<MeshAddress | null>;
  /** What signs models that are imported; null: the mesh has no key yet. */
  signingKey(): Promise<KeyObject | null>;
  /** `onChange`: the state of all parts; `onProgress`: what is being built, in words. */
  start(
    onChange: (parts: readonly Part[]) => void,
    onProgress: (doing: string) => void,
  ): Promise<RunningMesh>;
  /** Stops a mesh that another process runs; answers what it stopped. */
  down(): Promise<readonly string[]>;
  /** The same, and removes its data and logs. */
  reset(): Promise<readonly string[]>;
  /** What the machine needs and lacks, a line each with its remedy. */
  missingPrerequisites(): Promise<readonly string[]>;
}
