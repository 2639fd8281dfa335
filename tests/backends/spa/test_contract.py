"""The promises that every promoter makes, kept on both ways of copying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_core.testing.contract import PromoterContract
from imgctl_core.testing.harness import PromoterHarness


class SpaHarness(PromoterHarness):
    reference = "shop:v1"
    bad_references = ("shop", "shop:", "Shop:v1", "shop:v1@sha256:" + "a" * 64)
    secrets = ("imgctltestsecret",)

    def __init__(self, stub: Any, make_bench: Any, reply: Any, ends: Mapping[str, Any]) -> None:
        self._stub, self._make_bench, self._reply, self._ends = stub, make_bench, reply, ends

    def make(self) -> SpaPromoter:
        promoter: SpaPromoter = self._make_bench(self._stub.url, **self._ends).promoter
        return promoter

    def seed(self, environment: str, variant: int) -> None:
        for name in ("index.html", "about.html", "sw.js", "a.js", "b.css", "c.js"):
            self._stub.put(f"shop-{environment}", f"v1/{name}", f"{name} {variant}".encode())

    def snapshot(self, environment: str) -> Mapping[str, object]:
        held = self._stub.buckets[f"shop-{environment}"]
        pages = any(key.endswith((".html", "sw.js")) for key in held)
        return {key: found.body for key, found in held.items()} if pages else {}

    def inventory(self, environment: str) -> object:
        return dict(self._stub.buckets[f"shop-{environment}"])

    def spoil(self) -> bool:
        if not self._ends:
            return False  # S3 copies by itself

        def wrong(asked: Any) -> Any:
            if asked.method != "GET" or not asked.key or asked.query or asked.bucket != "shop-dev":
                return None
            found = self._stub.buckets[asked.bucket][asked.key]
            body = bytes(byte ^ 1 for byte in found.body)
            return self._reply(body=body, headers={"ETag": f'"{found.etag}"'})

        self._stub.faults.append(wrong)
        return True


class TestServerSide(PromoterContract):
    @pytest.fixture
    def harness(self, stub: Any, make_bench: Any, reply: Any) -> PromoterHarness:
        return SpaHarness(stub, make_bench, reply, {})


class TestStreaming(PromoterContract):
    @pytest.fixture
    def harness(
        self,
        stub: Any,
        make_bench: Any,
        reply: Any,
        fail: Any,
        monkeypatch: pytest.MonkeyPatch,
        home: Any,
    ) -> PromoterHarness:
        stub.faults.append(lambda asked: fail(403, "AccessDenied") if asked.copies else None)
        (home / "aws").write_text(
            "[profile prod]\naws_access_key_id = prod\naws_secret_access_key = imgctltestsecret\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "aws"))
        return SpaHarness(stub, make_bench, reply, {"prod": {"profile": "prod"}})
