"""Triton from NVIDIA's pytriton wheel: its server, its dynamic batching, its Python backend."""

import os
import sysconfig
import tempfile

import numpy
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from onnx_model import OnnxModel, told

BATCH_MAX = 256

# The Python backend loads the first libpython that it finds, which must be the one of this interpreter's modules.
os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")

options = told()
model = OnnxModel(options.model)


@batch
def infer(features):
    return {"score": model.score(features).reshape(-1, 1)}


config = TritonConfig(
    http_address="127.0.0.1",
    http_port=options.http_port,
    grpc_address="127.0.0.1",
    grpc_port=options.grpc_port,
    metrics_port=options.metrics_port,
)
with tempfile.TemporaryDirectory() as folder, Triton(config=config, workspace=f"{folder}/w") as triton:
    triton.bind(
        model_name=options.name,
        infer_func=infer,
        inputs=[Tensor(name="features", dtype=numpy.float32, shape=(model.width,))],
        outputs=[Tensor(name="score", dtype=numpy.float32, shape=(1,))],
        config=ModelConfig(batching=True, max_batch_size=BATCH_MAX, batcher=DynamicBatcher()),
        strict=False,
    )
    triton.serve()
