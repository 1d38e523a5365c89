"""MLServer with a runtime of its own for ONNX; `--batching` turns its adaptive batching on."""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from onnx_model import OnnxModel, told

BATCH_MAX = 256
# Its own example waits half a second; waiting longer only adds latency here.
WAIT_SECONDS = 0.001


class Runtime(MLModel):
    async def load(self) -> bool:
        self._model = OnnxModel(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        features = NumpyCodec.decode_input(payload.inputs[0])
        score = NumpyCodec.encode_output("score", self._model.score(features))
        return InferenceResponse(model_name=self.name, outputs=[score])


async def serve() -> None:
    options = told()
    settings = Settings(
        host="127.0.0.1",
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        metrics_port=options.metrics_port,
        parallel_workers=0,
        debug=False,
    )
    batching = {"max_batch_size": BATCH_MAX, "max_batch_time": WAIT_SECONDS} if options.batching else {}
    model = ModelSettings(
        name=options.name, implementation=Runtime, parameters={"uri": options.model}, **batching
    )
    await MLServer(settings).start([model])


asyncio.run(serve())
