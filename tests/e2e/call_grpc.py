"""Calls a method of a gRPC service as clients do, and prints the answer.

Usage: call_grpc.py ADDRESS METHOD [SERVICE]

With OFFLOOM_TEST_ROOTS it calls over TLS, and trusts what that file has.

An answer is printed as the name of its health status, a refusal as the name of its code.
"""
import os
import sys

import grpc

address, method, service = sys.argv[1], sys.argv[2], "".join(sys.argv[3:])
name = service.encode()
# HealthCheckRequest: the field 1 is the name of the service.
request = b"\x0a" + bytes([len(name)]) + name if name else b""
# HealthCheckResponse: the field 1 is the status.
names = {b"": "UNKNOWN", b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}
roots = os.environ.get("OFFLOOM_TEST_ROOTS")
if roots:
    with open(roots, "rb") as file:
        opened = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
else:
    opened = grpc.insecure_channel(address)
with opened as channel:
    plain = {"request_serializer": lambda request: request, "response_deserializer": lambda answer: answer}
    try:
        if method.endswith("/Watch"):
            answer = next(channel.unary_stream(method, **plain)(request, timeout=20))
        else:
            answer = channel.unary_unary(method, **plain)(request, timeout=20)
        print(names[answer])
    except grpc.RpcError as error:
        print(error.code().name)
