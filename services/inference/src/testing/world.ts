import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  canonicalJson,
  GRPCInferenceService,
  Health,
  lineTopics,
  type ModelInferRequestSchema,
  registryApi,
} from "@millrace/contracts";
import flights from "@millrace/line-flights";
import { defineServedLine, featureNames, featurePart } from "@millrace/lines";
import { constantModel, logisticModel } from "@millrace/onnx-graph";
import { createRpcClient, type RpcClient } from "@millrace/rpc";
import { createLog, RpcError, sha256Hex, sleep, systemClock } from "@millrace/runtime";
import { createMemoryBroker, type MemoryBroker, type MemoryObjects, memoryObjects } from "@millrace/testkit";
import { startRestServer } from "../rest.ts";
import { type AspiredSource, buildInference, type EntityVector, type InferenceSettings } from "../service.ts";
import { loadServed, serveGrpc } from "../wiring.ts";

const log = createLog("test", "silent");
/** The line that learns. */
export const LINE: string = flights.name;
export const FEATURE_DIGEST: string = sha256Hex(canonicalJson(featurePart(flights)));
export const NAMES: string[] = featureNames(flights);
export const WIDTH: number = NAMES.length;

/** A registry in this process: what it says, and whether it answers. */
export class FakeRegistry implements AspiredSource {
  available = true;
  hasLine = true;
  readonly #sets = new Map<string, registryApi.AspiredSet>();
  #look: () => void = () => {};

  lines(): ReturnType<AspiredSource["lines"]> {
    if (!this.available) return Promise.reject(new Error("registry is away"));
    const served = [...this.#sets.keys()].filter((name) => name !== LINE);
    return Promise.resolve([
      ...(this.hasLine ? [{ name: LINE, digest: "d", definitionJson: canonicalJson(flights) }] : []),
      ...served.map((name) => ({
        name,
        digest: "d",
        definitionJson: canonicalJson(defineServedLine({ name, title: name })),
      })),
    ]);
  }
  sets(): ReturnType<AspiredSource["sets"]> {
    if (!this.available) return Promise.reject(new Error("registry is away"));
    return Promise.resolve([...this.#sets.values()]);
  }
  onChange(look: () => void): () => void {
    this.#look = look;
    return () => {};
  }
  put(set: registryApi.AspiredSet): void {
    this.#sets.set(set.line, set);
    this.announce();
  }
  announce(): void {
    this.#look();
  }
}

export interface Node {
  /** `host:port` of gRPC, `http://host:port` of REST. */
  readonly url: string;
  readonly http: string;
  readonly service: ReturnType<typeof buildInference>;
  readonly client: RpcClient<typeof GRPCInferenceService>;
  readonly health: RpcClient<typeof Health>;
  stop(): Promise<void>;
}

/** Inference nodes, one after another on the same disk, and what surrounds them. */
export class World {
  readonly folder: string;
  readonly objects: MemoryObjects = memoryObjects();
  registry: FakeRegistry = new FakeRegistry();
  readonly broker: MemoryBroker = createMemoryBroker();
  /** What the feature service says. */
  entityVector: (line: string, entity: string) => Promise<EntityVector> = () =>
    Promise.reject(new RpcError("unavailable", "no feature service in this test"));
  readonly #nodes: Node[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), "millrace-inference-")));
    await world.broker.ensureTopics(lineTopics(LINE), 1);
    return world;
  }

  async startNode(token: string | null = null, settings: Partial<InferenceSettings> = {}): Promise<Node> {
    const service = buildInference(
      {
        MILLRACE_HOST: "127.0.0.1",
        MILLRACE_DATA: this.folder,
        MILLRACE_INFERENCE_TOKEN: token ?? undefined,
        MILLRACE_INFERENCE_BUDGET: 0,
        MILLRACE_INFERENCE_MEMORY_MB: 1_000,
        MILLRACE_INFERENCE_REQUEST_MB: 16,
        MILLRACE_INFERENCE_MODEL_CONTROL: "on",
        MILLRACE_INFERENCE_LOG_CALLS: "on",
        MILLRACE_INFERENCE_TRITON_METRICS: "on",
        ...settings,
      },
      {
        source: this.registry,
        objects: this.objects,
        broker: this.broker,
        verify: () => {},
        prove: async () => {},
        loadModel: loadServed(log),
        entityVector: (line, entity) => this.entityVector(line, entity),
        serve: (methods, authorise) =>
          serveGrpc(methods, {
            transport: "http2",
            host: "127.0.0.1",
            port: 0,
            requestBytesMax: 16 * 1024 * 1024,
            authorise,
            log,
          }),
        serveRest: (rest) => startRestServer("127.0.0.1", 0, rest),
        clock: systemClock,
        now: () => performance.now(),
        log,
        close: async () => {},
      },
    );
    await service.start(new AbortController().signal);
    const url = `127.0.0.1:${service.port()}`;
    const client = createRpcClient(GRPCInferenceService, url, { token });
    const health = createRpcClient(Health, url, { token });
    let stopped: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      stopped ??= (async () => {
        await service.stop(2_000);
        client.close();
        health.close();
      })();
      return stopped;
    };
    const http = `http://127.0.0.1:${service.httpPort()}`;
    const node: Node = { url, http, service, client, health, stop };
    this.#nodes.push(node);
    return node;
  }

  /** The line's champion and shadows. */
  async aspire(generation: number, champion: number, ...shadows: number[]): Promise<void> {
    const models = [
      await this.modelOf(champion, "champion"),
      ...(await Promise.all(shadows.map((version) => this.modelOf(version, "shadow")))),
    ];
    this.put({ line: LINE, generation: BigInt(generation), models });
  }

  put(set: MessageInitShape<typeof registryApi.AspiredSetSchema>): void {
    this.registry.put(create(registryApi.AspiredSetSchema, set));
  }

  /** A version of the line, its bytes in the object store. */
  async modelOf(
    version: number,
    role: string,
  ): Promise<MessageInitShape<typeof registryApi.AspiredModelSchema>> {
    const bytes = modelBytes(version);
    const artifactDigest = await this.objects.put(bytes);
    return {
      version: BigInt(version),
      role,
      artifactDigest,
      artifactBytes: BigInt(bytes.length),
      featureDigest: FEATURE_DIGEST,
      featureNames: NAMES,
    };
  }

  async stop(): Promise<void> {
    for (const node of this.#nodes.splice(0)) await node.stop();
    await rm(this.folder, { recursive: true });
  }
}

const describeModel = (recipe: string) => ({ features: NAMES, featureDigest: FEATURE_DIGEST, recipe });

/** Version 1 answers 0.25 always; later ones a logistic score of the first feature, shifted by the version. */
export function modelBytes(version: number): Uint8Array {
  if (version === 1) return constantModel(describeModel("baseline"), 0.25);
  const each = (value: number): number[] => NAMES.map(() => value);
  return logisticModel(describeModel("logistic"), {
    weights: NAMES.map((_, i) => (i === 0 ? 1 : 0)),
    bias: version,
    means: each(0),
    scales: each(1),
    fill: each(0),
  });
}

export function expectedScore(version: number, x: number): number {
  return version === 1 ? 0.25 : 1 / (1 + Math.exp(-(x + version)));
}

export async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await what()) return;
    await sleep(5);
  }
  throw new Error(`not within 5 s: ${what.toString()}`);
}

export const championOf = (node: Node): unknown => node.service.lines()[LINE]?.details["champion"];

export type Infer = MessageInitShape<typeof ModelInferRequestSchema>;

/** A request for one row whose first feature is `x`, all others 0. */
export function rowOf(x: number, change: Infer = {}): Infer {
  const row = new Array<number>(WIDTH).fill(0);
  row[0] = x;
  return {
    modelName: LINE,
    inputs: [
      { name: "features", datatype: "FP32", shape: [1n, BigInt(WIDTH)], contents: { fp32Contents: row } },
    ],
    ...change,
  };
}
