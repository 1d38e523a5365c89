"""The model that every peer serves: one thread of onnxruntime, as ours has."""

import argparse

import numpy
import onnxruntime


class OnnxModel:
    def __init__(self, file: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.width = self._session.get_inputs()[0].shape[1]

    def score(self, features: numpy.ndarray) -> numpy.ndarray:
        """FP32 [rows, features] to FP32 [rows]."""
        return self._session.run(["score"], {"features": features})[0]


def told() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--metrics-port", type=int, required=True)
    parser.add_argument("--batching", action="store_true")
    return parser.parse_args()
