"""Requests as an attacker with a good token would send them, past our own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto.imgctl_pb2_grpc import ImgCtlStub
from imgctl_core.testing.images import sample_image

HOSTS = (
    "169.254.169.254/latest/meta-data:x",
    "localhost:8080/a:b",
    "[::1]:22/x:1",
    "metadata.google.internal/x:1",
    "A/app:1",
    "image:metadata.google.internal/x:1",
    "image::169.254.169.254/latest/meta-data:x",
    "http://169.254.169.254/x:1",
    "//metadata.google.internal/x:1",
    "user:password@localhost/x:1",
    "169\u3002254\u3002169\u3002254/x:1",
    "l\u043ecalhost/x:1",
)
PATHS = (
    "../x:1",
    "a/../b:1",
    "a//b:1",
    "/a:1",
    "a:../../other/manifests/v1",
    "a%2f..%2fb:1",
    "a:1?n=1",
    "a:1#x",
    "a\\b:1",
    "spa:../shop:1",
    "spa:shop:../1",
    "spa:shop:1/../2",
    "spa:shop:%2e%2e",
    "spa:arn:aws:s3:::bucket:1",
    "spa:shop.s3alias:1",
)
UNSEEN = ("a:1\n", "a\0:1", "a\x1b[2J:1", "\u202ea:1", "a\u200b:1", "a\u3164:1", "a:1\u2028")


@pytest.fixture
def call(stack: Any, registries: Any) -> Iterator[Any]:
    """Return a function that asks the server for a plan of one reference."""
    for registry in registries:
        registry.put_image("app", "v1", sample_image("same"))
    stack.start(IMGCTL_SPA_DEV="dev", IMGCTL_SPA_PROD="prod", AWS_REGION="eu-central-1")
    shown = stack.run("login", "-o", "json", "--show-token").json
    address = stack.client["IMGCTL_SERVER"]
    with grpc.secure_channel(address, grpc.local_channel_credentials()) as channel:
        stub = ImgCtlStub(channel)

        def ask(**fields: Any) -> grpc.RpcError | None:
            message = pb.PlanPromotionRequest(**{"source": "dev", "destination": "prod", **fields})
            metadata = (("authorization", f"Bearer {shown['token']}"),)
            try:
                stub.PlanPromotion(message, metadata=metadata, timeout=60)
            except grpc.RpcError as error:
                return error
            return None

        yield ask


def test_no_reference_leads_anywhere_else(call: Any, registries: Any) -> None:
    assert call(refs=["app:v1"]) is None
    before = [len(registry.requests) for registry in registries]
    for ref in (*HOSTS, *PATHS, *UNSEEN):
        error = call(refs=[ref])
        assert error is not None, ref
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, (ref, error)
        assert error.details().isprintable()
    # Refused before anybody was asked.
    assert [len(registry.requests) for registry in registries] == before


def test_no_environment_but_those_of_the_settings(call: Any, registries: Any) -> None:
    before = [len(registry.requests) for registry in registries]
    for name in ("http://evil.example.com", "../prod", "pr\u043ed", "prod\n", "pro\u200bd", "\0"):
        for field in ("source", "destination"):
            error = call(refs=["app:v1"], **{field: name})
            assert error is not None
            assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
            assert error.details().isascii()
    assert [len(registry.requests) for registry in registries] == before
