"""The standard health service: whether calls would be served now, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2

SERVICE = "imgctl.v1.ImgCtl"

_Status = health_pb2.HealthCheckResponse


class Health:
    """Answers `Check` for the whole server ("") and for imgctl's service.

    `Watch` and `List` are not served: a watch needs no token and lasts, and whoever
    watches falls back to what a server without it means, that it is healthy (gRPC's
    doc/health-checking.md).
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._draining = False
        self._servicer = health.HealthServicer()

    def drain(self) -> None:
        """Say from now on that no new calls should come."""
        self._draining = True

    def check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        serving = not self._draining and self._ready()
        for service in ("", SERVICE):
            self._servicer.set(service, _Status.SERVING if serving else _Status.NOT_SERVING)
        return self._servicer.Check(request, context)

    def handler(self) -> grpc.GenericRpcHandler:
        method = grpc.unary_unary_rpc_method_handler(
            self.check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=_Status.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": method})
