"""A client of Python's grpcio that knows only bytes: it does each kind of call once and prints what came of it as JSON."""

import json
import sys

import grpc

SERVICE = "/millrace.test.v1.Echo/"
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}", [("grpc.max_receive_message_length", 16 << 20)])
unary = channel.unary_unary(SERVICE + "Unary")
hold = channel.unary_unary(SERVICE + "Hold")


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


failure = error_of(lambda: channel.unary_unary(SERVICE + "Fail")(b"", timeout=10))
late = error_of(lambda: hold(b"", timeout=0.05))
pending = hold.future(b"")
try:
    pending.result(timeout=0.05)
except grpc.FutureTimeoutError:
    pending.cancel()
chat = [answer.decode() for answer in channel.stream_stream(SERVICE + "Chat")(iter([b"a", b"b", b"c"]), timeout=10)]
print(
    json.dumps(
        {
            "unary": unary(b"hello", timeout=10).decode(),
            "error": [failure.code().value[0], failure.details()],
            "deadline": late.code().value[0],
            "cancelled": pending.code().value[0],
            "large": len(unary(bytes(5_000_000), timeout=30, compression=grpc.Compression.Gzip)),
            "chat": chat,
        }
    )
)
channel.close()
