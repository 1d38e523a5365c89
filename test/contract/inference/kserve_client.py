"""KServe's own clients against the inference service: prints as JSON what each call came to.

Arguments: host:port of gRPC and URL of REST. Needs kserve.
"""

import asyncio
import json
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

GRPC, REST = sys.argv[1], sys.argv[2]


def request(binary):
    given = InferInput("x", [2, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32), binary_data=binary)
    return InferRequest("add", [given], request_id="call-7")


def told(response):
    output = response.outputs[0]
    return {
        "id": response.id,
        "model": response.model_name,
        "version": response.model_version,
        "y": output.as_numpy().tolist(),
    }


async def over_rest():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    answers = {
        "live": await client.is_server_live(REST),
        "ready": await client.is_server_ready(REST),
        "model_ready": await client.is_model_ready(REST, "add"),
        "json": told(await client.infer(REST, request(binary=False), model_name="add")),
        "binary": told(await client.infer(REST, request(binary=True), model_name="add")),
    }
    try:
        await client.infer(REST, InferRequest("nobody", request(False).inputs), model_name="nobody")
    except Exception as error:
        answers["error"] = str(error)
    await client.close()
    return answers


async def over_grpc():
    client = InferenceGRPCClient(GRPC)
    answers = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": await client.is_model_ready("add"),
        "typed": told(await client.infer(request(binary=False))),
        "raw": told(await client.infer(request(binary=True))),
    }
    await client.close()
    # The client has no such calls, its stub has: with the name in field 1, which is Triton's repository_name.
    async with grpc.aio.insecure_channel(GRPC) as channel:
        stub = GRPCInferenceServiceStub(channel)
        unloaded = await stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="add"))
        ready = await stub.ModelReady(messages.ModelReadyRequest(name="add"))
        loaded = await stub.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name="add"))
        answers["repository"] = {
            "unloaded": [unloaded.model_name, unloaded.isUnloaded],
            "ready": ready.ready,
            "loaded": [loaded.model_name, loaded.isLoaded],
        }
    return answers


async def main():
    print(json.dumps({"rest": await over_rest(), "grpc": await over_grpc()}), flush=True)


asyncio.run(main())
