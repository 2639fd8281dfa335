"""The least that a gRPC server can do: give back what came.

echo.py CERT KEY THREADS

Prints the port it chose.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

METHOD = "/bench.Echo/Echo"


def main() -> None:
    cert, key, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    server = grpc.server(ThreadPoolExecutor(threads))
    echo: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Echo", {"Echo": echo}),)
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
