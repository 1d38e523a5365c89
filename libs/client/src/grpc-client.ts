import { toJson } from "@bufbuild/protobuf";
import {
  GRPCInferenceService,
  ModelMetadataResponseSchema,
  ModelStatisticsResponseSchema,
  RepositoryIndexResponseSchema,
} from "@millrace/contracts";
import { decodeInferResponse, encodeInferRequest } from "@millrace/open-inference";
import { indexOf, metadataOf, objectOf, statisticsOf } from "./answer.ts";
import { MillraceError } from "./error.ts";
import { type Features, featuresVia } from "./features.ts";
import { type Channel, openChannel, type Tls, type Unary } from "./grpc-channel.ts";
import { type Infer, inferVia } from "./inference.ts";
import type { Models } from "./models.ts";
import { type Predict, predictVia } from "./predict.ts";
import { type Registry, registryVia } from "./registry.ts";
import { type ClientOptions, callPolicy } from "./retry.ts";

/** Addresses of the services, `host:port` each: of those that are called. */
export interface GrpcOptions extends ClientOptions {
  readonly inference?: string | undefined;
  readonly feature?: string | undefined;
  readonly registry?: string | undefined;
  /** Default: plaintext. */
  readonly tls?: Tls;
}

/** A client over gRPC. Generation is REST's alone: the protocol has no such method. */
export interface GrpcClient {
  readonly predict: Predict;
  readonly infer: Infer;
  readonly models: Models;
  readonly features: Features;
  readonly registry: Registry;
  /** No call may begin after it; those under way go on to their end. */
  close(): void;
}

/** See `createGrpcClient`. */
export function connectGrpc(options: GrpcOptions): GrpcClient {
  const policy = callPolicy(options);
  const channels = new Map<string, Channel>();
  const channelTo = (service: "inference" | "feature" | "registry"): Channel => {
    const address = options[service];
    if (address === undefined) {
      throw new MillraceError(
        "FAILED_PRECONDITION",
        `${service}: no address, expected one such as 127.0.0.1:8001`,
      );
    }
    const channel = channels.get(service) ?? openChannel(address, options.tls ?? null, policy);
    channels.set(service, channel);
    return channel;
  };
  const infer = inferVia(async (request, call) => {
    const bytes = encodeInferRequest(request);
    return decodeInferResponse(
      await channelTo("inference").bytes(GRPCInferenceService.method.modelInfer, bytes, call),
    );
  });
  return {
    infer,
    predict: predictVia(infer),
    models: modelsVia(async (...call) => channelTo("inference").unary(...call)),
    features: featuresVia(async (...call) => channelTo("feature").unary(...call)),
    registry: registryVia(async (...call) => channelTo("registry").unary(...call)),
    close: () => {
      for (const channel of channels.values()) channel.close();
    },
  };
}

/** Protobuf's JSON of an answer has the names and the form of REST's: one reader for both. */
function modelsVia(unary: Unary): Models {
  const { modelMetadata, modelReady, repositoryIndex, modelStatistics } = GRPCInferenceService.method;
  const asked = (name: string, version: number | string = "") => ({ name, version: String(version) });
  const names = { useProtoFieldName: true };
  return {
    metadata: async (model, options = {}) => {
      const answer = await unary(modelMetadata, asked(model, options.version), options);
      return metadataOf(toJson(ModelMetadataResponseSchema, answer, names));
    },
    ready: async (model, options = {}) => {
      try {
        return (await unary(modelReady, asked(model, options.version), options)).ready;
      } catch (error) {
        if (error instanceof MillraceError && error.code === "NOT_FOUND") return false;
        throw error;
      }
    },
    index: async (options) => {
      const answer = await unary(repositoryIndex, {}, options);
      return indexOf(objectOf(toJson(RepositoryIndexResponseSchema, answer, names))["models"]);
    },
    statistics: async (model, options = {}) => {
      const answer = await unary(modelStatistics, asked(model, options.version), options);
      return statisticsOf(toJson(ModelStatisticsResponseSchema, answer, names));
    },
  };
}
