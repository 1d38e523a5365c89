"""NVIDIA's tritonclient against the inference service: prints as JSON what each call came to.

Arguments: grpc|http and host:port. Needs tritonclient[grpc,http] and numpy. The models `echo`, `add` and `flights` are
those of models.ts and stage.ts.
"""

import json
import queue
import sys

import numpy as np
from tritonclient.utils import InferenceServerException

PROTOCOL, URL = sys.argv[1], sys.argv[2]
if PROTOCOL == "grpc":
    import tritonclient.grpc as triton
else:
    import tritonclient.http as triton

VALUES = {
    "BOOL": np.array([[True, False]], dtype=np.bool_),
    "UINT8": np.array([[0, 255]], dtype=np.uint8),
    "UINT16": np.array([[0, 65535]], dtype=np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], dtype=np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], dtype=np.uint64),
    "INT8": np.array([[-128, 127]], dtype=np.int8),
    "INT16": np.array([[-32768, 32767]], dtype=np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype=np.int64),
    "FP16": np.array([[-0.0, 65504.0]], dtype=np.float16),
    "FP32": np.array([[1e-45, -3.4e38]], dtype=np.float32),
    "FP64": np.array([[5e-324, 1.7e308]], dtype=np.float64),
    "BYTES": np.array([["", "Mühle \U0001f4a7"]], dtype=np.object_),
}
# tritonclient writes no half-precision numbers as JSON: they go in binary beside the others.
JSON_VALUES = {name: values for name, values in VALUES.items() if name != "FP16"}


def main() -> None:
    client = triton.InferenceServerClient(URL)
    parts = {
        "server": server,
        "model": model,
        "binary": lambda client: echo(client, VALUES, binary=True),
        **({"json": lambda client: echo(client, JSON_VALUES, binary=False)} if PROTOCOL == "http" else {}),
        "repository": repository,
        "statistics": statistics,
        "asynchronous": asynchronous,
        "errors": errors,
        **({"stream": stream} if PROTOCOL == "grpc" else {}),
    }
    print(json.dumps({name: part(client) for name, part in parts.items()}), flush=True)
    client.close()


def as_json(call, *arguments):
    return call(*arguments, as_json=True) if PROTOCOL == "grpc" else call(*arguments)


def server(client):
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "metadata": as_json(client.get_server_metadata),
    }


def model(client):
    return {
        "ready": client.is_model_ready("echo"),
        "stranger_ready": client.is_model_ready("nobody"),
        "metadata": as_json(client.get_model_metadata, "flights"),
        "config": as_json(client.get_model_config, "echo"),
    }


def tensor(name, datatype, values, **how):
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, **how)
    return made


def echo(client, values, binary):
    how = {} if PROTOCOL == "grpc" else {"binary_data": binary}
    inputs = [tensor(f"in_{name}", name, VALUES[name], **(how if name in values else {})) for name in VALUES]
    outputs = [triton.InferRequestedOutput(f"out_{name}", **how) for name in values]
    result = client.infer("echo", inputs, outputs=outputs, request_id="call-7")
    response = result.get_response(as_json=True) if PROTOCOL == "grpc" else result.get_response()
    return {
        "same": [name for name in values if same(result.as_numpy(f"out_{name}"), values[name])],
        "id": response["id"],
        "version": response["model_version"],
    }


def same(answer, values):
    if answer is None or answer.shape != values.shape:
        return False
    if values.dtype == np.object_:
        given = [text.decode() if isinstance(text, bytes) else text for text in answer.flatten()]
        return given == list(values.flatten())
    return answer.dtype == values.dtype and answer.tobytes() == values.tobytes()


def repository(client):
    def states():
        index = as_json(client.get_model_repository_index)
        models = index.get("models", []) if PROTOCOL == "grpc" else index
        return {one["name"]: one["state"] for one in models}

    before = states()
    client.unload_model("add")
    unloaded = client.is_model_ready("add")
    client.load_model("add")
    return {"before": before, "unloaded": unloaded, "loaded": client.is_model_ready("add")}


def statistics(client):
    found = as_json(client.get_inference_statistics, "echo")["model_stats"][0]
    return {
        "name": found["name"],
        "count": int(found["inference_count"]),
        "success": int(found["inference_stats"]["success"]["count"]),
        "ns": int(found["inference_stats"]["success"]["ns"]),
    }


def add(i):
    return [tensor("x", "FP32", np.full((1, 2), i, dtype=np.float32))]


def asynchronous(client):
    """20 calls under way together."""
    if PROTOCOL == "http":
        parallel = triton.InferenceServerClient(URL, concurrency=8)
        calls = [parallel.async_infer("add", add(i)) for i in range(20)]
        results = [call.get_result() for call in calls]
        parallel.close()
    else:
        done = queue.Queue()
        for i in range(20):
            client.async_infer("add", add(i), lambda result, error: done.put(error or result), request_id=str(i))
        results = [done.get(timeout=10) for _ in range(20)]
    return sorted(float(result.as_numpy("y")[0, 0]) for result in results)


def stream(client):
    """Answers carry their requests' ids; one that fails leaves the others alone."""
    done = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    for i in range(20):
        client.async_stream_infer("nobody" if i == 7 else "add", add(i), request_id=str(i))
    answers = [done.get(timeout=10) for _ in range(20)]
    client.stop_stream()
    return {
        "scores": {
            result.get_response().id: float(result.as_numpy("y")[0, 0])
            for result, error in answers
            if error is None
        },
        "errors": [error.message() for _, error in answers if error is not None],
    }


def errors(client):
    def error_of(call):
        try:
            call()
        except InferenceServerException as error:
            return {"status": str(error.status()), "message": error.message()}
        except Exception as error:
            return {"status": type(error).__name__, "message": str(error)}
        return None

    wide = [tensor("x", "FP32", np.zeros((1, 3), dtype=np.float32))]
    double = [tensor("x", "FP64", np.zeros((1, 2), dtype=np.float64))]
    return {
        "no such model": error_of(lambda: client.infer("nobody", add(0))),
        "no such version": error_of(lambda: client.infer("add", add(0), model_version="99")),
        "wrong shape": error_of(lambda: client.infer("add", wide)),
        "wrong datatype": error_of(lambda: client.infer("add", double)),
        "no inputs": error_of(lambda: client.infer("add", [])),
        "load of nothing": error_of(lambda: client.load_model("nobody")),
        "a caller's files": error_of(lambda: client.load_model("add", config='{"name": "add"}')),
        "shared memory": error_of(lambda: client.get_system_shared_memory_status()),
        "log settings": error_of(lambda: client.get_log_settings()),
    }


if __name__ == "__main__":
    main()
