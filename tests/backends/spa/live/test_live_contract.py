"""The promises of every activator, kept by the three ways of going live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_core.testing.activator_contract import ActivatorContract
from imgctl_core.testing.harness import ActivatorHarness

ARN = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4"


class LiveHarness(ActivatorHarness):
    """`live` is what the settings say of going live."""

    name = "shop"
    versions = ("shop:v1", "shop:v2")
    bad_names = ("Shop", "shop/web", "-shop", "shop@v1")

    def __init__(self, stub: Any, make_bench: Any, live: Mapping[str, Any]) -> None:
        self.stub, self._make_bench, self._live = stub, make_bench, live

    def make(self) -> SpaPromoter:
        bench = self._make_bench(self.stub.url, prod={"live": self._live})
        promoter: SpaPromoter = bench.promoter
        return promoter

    def seed(self, reference: str) -> None:
        version = reference.partition(":")[2]
        page = f'<script src="/{version}/app.js"></script>'.encode() + b" " * int(version[1:])
        for name in ("index.html", "about.html", "docs/index.html"):
            self.stub.put("shop-prod", f"{version}/{name}", page + name.encode())
        self.stub.put("shop-prod", f"{version}/sw.js", f"sw {version}".encode())
        self.stub.put("shop-prod", f"{version}/app.js", f"app {version}".encode())

    def inventory(self) -> object:
        return dict(self.stub.buckets["shop-prod"])

    def spoil(self, reference: str) -> bool:
        version = reference.partition(":")[2]
        self.stub.put("shop-prod", f"{version}/index.html", b"")
        return True


class PointerHarness(LiveHarness):
    def live(self) -> object:
        found = self.stub.buckets["shop-prod"].get("current.json")
        return json.loads(found.body)["prefix"] if found else None


class RootHarness(LiveHarness):
    def live(self) -> object:
        found = self.stub.buckets["shop-prod"].get("index.html")
        return found.body if found else None


class KeyValueHarness(LiveHarness):
    def __init__(self, stub: Any, make_bench: Any, live: Mapping[str, Any], kvs: Any) -> None:
        super().__init__(stub, make_bench, live)
        self._kvs = kvs

    def live(self) -> object:
        return self._kvs.values.get("live")

    def inventory(self) -> object:
        return super().inventory(), dict(self._kvs.values)


class TestPointer(ActivatorContract):
    @pytest.fixture
    def harness(self, stub: Any, make_bench: Any) -> ActivatorHarness:
        return PointerHarness(stub, make_bench, {"mode": "pointer"})


class TestRoot(ActivatorContract):
    @pytest.fixture
    def harness(self, stub: Any, make_bench: Any) -> ActivatorHarness:
        return RootHarness(stub, make_bench, {"mode": "root"})


class TestRootWithAllFiles(ActivatorContract):
    @pytest.fixture
    def harness(self, stub: Any, make_bench: Any) -> ActivatorHarness:
        return RootHarness(stub, make_bench, {"mode": "root", "copy": "all"})


class TestKeyValueStore(ActivatorContract):
    @pytest.fixture
    def harness(self, stub: Any, make_bench: Any, kvs: Any) -> ActivatorHarness:
        live = {"mode": "cloudfront-kvs", "kvs_arn": ARN}
        return KeyValueHarness(stub, make_bench, live, kvs)
