"""A release of thirty images that are there already, through the real engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_core.audit import AuditLog
from imgctl_core.auth.policy import Policy
from imgctl_core.engine import Engine
from imgctl_core.journal import Journal
from imgctl_core.models import Actor, Outcome, Promotion, PromotionRequest
from imgctl_core.notify import Notifications
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.resolve import Resolver
from imgctl_core.store import MemoryStore
from imgctl_core.testing.httpd import Fault, Response
from imgctl_core.testing.images import make_artifact, sample_image
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

ACTOR = Actor("https://dex.test", "alice", groups=("eng",))
COUNT = 30


def run(bench: Bench, folder: Path, refs: tuple[str, ...], **more: Any) -> Promotion:
    audit = AuditLog(folder / "audit.jsonl")
    registry = PluginRegistry({"image": type(bench.promoter)}, {}, ())
    resolver = Resolver(
        {"image": bench.promoter},
        registry,
        environments=("dev", "prod"),
        allow_replace=(),
        default_source="",
    )
    engine = Engine(
        resolver,
        Policy(allowed_groups=["eng"], environments={}),
        Journal(audit),
        Notifications({}),
        MemoryStore(),
        max_promotions=2,
    )
    try:
        started = engine.start(PromotionRequest(refs, "prod", "dev", **more), ACTOR)
        *_, last = engine.watch(started.id, ACTOR, threading.Event())
    finally:
        audit.close()
    assert isinstance(last, Promotion)
    return last


def asked(registry: Registry) -> Counter[str]:
    """Count requests by repository, calls for tokens aside."""
    paths = (r.path for r in registry.requests if not r.path.endswith("/token"))
    return Counter(path.split("/manifests/")[0] for path in paths)


@pytest.mark.parametrize("auth", ["none", "bearer"])
def test_thirty_unchanged_images_cost_a_request_each_on_either_side(
    make_bench: MakeBench,
    make_registry: Callable[..., Registry],
    tmp_path: Path,
    auth: str,
) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret")
    login = {} if auth == "none" else {"username": "bob", "password_file": secret}
    known = {} if auth == "none" else {"username": "bob", "password": "s3cret"}
    dev, prod = (make_registry(auth=auth, **known) for _ in range(2))
    for n in range(COUNT):
        image = sample_image(f"image {n}", architectures=("amd64",), layers=1)
        for registry in (dev, prod):
            registry.put_image(f"team/app{n}", "v1", image)
        dev.put_image(f"team/app{n}", "", make_artifact(b"sbom", "text/spdx", subject=image))
    bench = make_bench(dev={"registry": dev.url, **login}, prod={"registry": prod.url, **login})
    refs = tuple(f"team/app{n}:v1" for n in range(COUNT))
    for _ in range(2):  # the first run learns how to sign in
        dev.clear_requests()
        prod.clear_requests()
        done = run(bench, tmp_path, refs)
        assert {item.outcome for item in done.items} == {Outcome.UNCHANGED}
    each = {f"/v2/team/app{n}": 1 for n in range(COUNT)}
    assert asked(dev) == each
    assert asked(prod) == each
    assert {r.method for r in (*dev.requests, *prod.requests) if "/v2/" in r.path} == {"HEAD"}


def test_the_engine_finishes_what_is_not_complete(
    bench: Bench, dev: Registry, prod: Registry, tmp_path: Path
) -> None:
    images = [sample_image(f"image {n}") for n in range(3)]
    for n, image in enumerate(images):
        for registry in (dev, prod):
            registry.put_image("app", f"v{n}", image)
    late = dev.put_image("app", "", make_artifact(b"sbom", "text/spdx", subject=images[1]))
    refused = dev.put_image("app", "", make_artifact(b"odd", "text/odd", subject=images[2]))
    prod.inject(Fault(answer=Response(405)), method="PUT", pattern=refused.digest, times=None)
    refs = tuple(f"app:v{n}" for n in range(3))
    done = run(bench, tmp_path, refs, options={"referrers": "refresh"})
    outcomes = [item.outcome for item in done.items]
    assert outcomes == [Outcome.UNCHANGED, Outcome.PROMOTED, Outcome.PROMOTED]
    assert late.digest in prod.manifests("app")
    assert [len(item.notes) for item in done.items] == [0, 0, 1]
    assert refused.digest in done.items[2].notes[0]
    assert dev.count("GET", "tags/list") == 1
