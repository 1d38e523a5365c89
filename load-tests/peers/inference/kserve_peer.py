"""KServe's Python server with a model that calls onnxruntime."""

import kserve

from onnx_model import OnnxModel, told


class Model(kserve.Model):
    def __init__(self, name: str, file: str) -> None:
        super().__init__(name)
        self._model = OnnxModel(file)
        self.ready = True

    def predict(self, payload: kserve.InferRequest, headers=None, response_headers=None) -> kserve.InferResponse:
        score = self._model.score(payload.inputs[0].as_numpy())
        output = kserve.InferOutput("score", list(score.shape), "FP32")
        output.set_data_from_numpy(score, binary_data=True)
        return kserve.InferResponse(payload.id or "", self.name, [output])


options = told()
server = kserve.ModelServer(
    http_port=options.http_port,
    grpc_port=options.grpc_port,
    enable_grpc=True,
    enable_latency_logging=False,
    workers=1,
)
server.start([Model(options.name, options.model)])
