"""A stranger's client: calls ModelInfer over gRPC with NVIDIA's tritonclient, from several threads.

Needs tritonclient[grpc] and numpy. Stops when the stop file appears or the time is over, then prints one JSON line:
{"calls", "failed", "versions": {version: answers}, "p50_ms", "p99_ms", "max_ms", "seconds", "errors": [first few]}
A call fails when it raises, or when its answer is not one finite score between 0 and 1 for each row.
"""

import argparse
import collections
import json
import math
import os
import threading
import time

import numpy as np
import tritonclient.grpc as triton


def main() -> None:
    arguments = parse()
    stopping = threading.Event()
    workers = [Worker(arguments, stopping, seed) for seed in range(arguments.threads)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    while not stopping.wait(0.05):
        is_over = time.monotonic() - began >= arguments.seconds
        if is_over or (arguments.stop_file and os.path.exists(arguments.stop_file)):
            stopping.set()
    for worker in workers:
        worker.join()
    print(json.dumps(summary(workers, time.monotonic() - began)), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="127.0.0.1:9103", help="host:port of the inference service")
    parser.add_argument("--model", default="flights", help="the line")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--pause-ms", type=float, default=0.0, help="each thread's rest after a call")
    parser.add_argument("--seconds", type=float, default=10.0, help="longest run")
    parser.add_argument("--stop-file", default="", help="end when this file exists")
    parser.add_argument("--token", default="", help="bearer token, where the service asks for one")
    return parser.parse_args()


class Worker(threading.Thread):
    """One connection, one call in flight."""

    def __init__(self, arguments: argparse.Namespace, stopping: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.arguments = arguments
        self.stopping = stopping
        self.random = np.random.default_rng(seed)
        self.latencies_ms: list[float] = []
        self.versions: collections.Counter[str] = collections.Counter()
        self.errors: list[str] = []

    def run(self) -> None:
        arguments = self.arguments
        headers = {"authorization": f"Bearer {arguments.token}"} if arguments.token else {}
        # A channel of its own for each thread: tritonclient shares them otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        client = triton.InferenceServerClient(arguments.url, channel_args=options)
        try:
            metadata = client.get_model_metadata(arguments.model, headers=headers)
            features = int(metadata.inputs[0].shape[1])
        except Exception as error:
            self.errors.append(f"metadata: {error}")
            return
        while not self.stopping.is_set():
            self.call(client, features, headers)
            if arguments.pause_ms > 0:
                self.stopping.wait(arguments.pause_ms / 1000)
        client.close()

    def call(self, client: triton.InferenceServerClient, features: int, headers: dict[str, str]) -> None:
        rows = self.arguments.rows
        values = self.random.normal(size=(rows, features)).astype(np.float32)
        values[self.random.random(values.shape) < 0.1] = np.nan
        tensor = triton.InferInput("features", [rows, features], "FP32")
        tensor.set_data_from_numpy(values)
        began = time.perf_counter()
        try:
            result = client.infer(self.arguments.model, [tensor], headers=headers, client_timeout=30.0)
            scores = result.as_numpy("score")
            if scores is None or scores.shape != (rows,):
                raise ValueError(f"score has shape {None if scores is None else scores.shape}")
            if not all(math.isfinite(score) and 0.0 <= score <= 1.0 for score in scores):
                raise ValueError(f"not probabilities: {scores[:4]}")
            self.versions[result.get_response().model_version] += 1
        except Exception as error:
            self.errors.append(str(error))
        self.latencies_ms.append((time.perf_counter() - began) * 1000)


def summary(workers: list[Worker], seconds: float) -> dict[str, object]:
    latencies = np.array([ms for worker in workers for ms in worker.latencies_ms] or [0.0])
    errors = [error for worker in workers for error in worker.errors]
    versions = sum((worker.versions for worker in workers), collections.Counter())
    return {
        "calls": sum(len(worker.latencies_ms) for worker in workers),
        "failed": len(errors),
        "versions": dict(versions),
        "p50_ms": round(float(np.percentile(latencies, 50)), 3),
        "p99_ms": round(float(np.percentile(latencies, 99)), 3),
        "max_ms": round(float(latencies.max()), 3),
        "seconds": round(seconds, 3),
        "errors": errors[:5],
    }


if __name__ == "__main__":
    main()
