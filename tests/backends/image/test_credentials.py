"""Credentials and tokens: one endpoint's, whatever host it shares, renewed and shared well."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_backends.image.ecr.account import EcrAccount
from imgctl_backends.image.endpoint import ImageEndpoint
from imgctl_core.errors import EndpointDenied, EndpointUnreachable
from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response
from imgctl_core.testing.registry import Registry
from imgctl_core.testing.registry.access import Access
from imgctl_core.testing.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

MakeRegistry = Callable[..., Registry]


class Rooms(Access):
    """Two users, each of whom may do everything in the folder of that name, and no more."""

    def __init__(self, **passwords: str) -> None:
        super().__init__("basic", "", "", anonymous_pull=False, lifetime=0, url=lambda: "")
        self._passwords = passwords

    def check(self, request: Request, name: str, action: str, source: str = "") -> None:
        encoded = request.headers.get("Authorization").removeprefix("Basic ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, ValueError):
            user = password = ""
        if self._passwords.get(user) != password or name.partition("/")[0] not in (user, ""):
            raise self._unauthorized(name, action, source)


@pytest.fixture
def shared(make_registry: MakeRegistry) -> Registry:
    """Return a registry that two endpoints share, with a user for each."""
    registry = make_registry()
    registry._access = Rooms(dev="one", prod="two")
    return registry


@pytest.fixture
def as_user(shared: Registry, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function from a folder and a user to an endpoint of the shared registry."""

    def end(folder: str, user: str, password: str) -> dict[str, Any]:
        file = tmp_path / password
        file.write_text(password)
        return {"registry": f"{shared.url}/{folder}", "username": user, "password_file": file}

    return end


def users(registry: Registry, pattern: str) -> set[str]:
    """Return who sent the requests whose path has the pattern."""
    sent = [
        r.headers.get("Authorization").removeprefix("Basic ")
        for r in registry.requests
        if pattern in r.path
    ]
    return {base64.b64decode(text).decode().partition(":")[0] for text in sent}


def test_one_host_and_two_identities(
    make_bench: MakeBench, shared: Registry, as_user: Callable[..., dict[str, Any]]
) -> None:
    image = shared.put_image("dev/app", "v1")
    bench = make_bench(dev=as_user("dev", "dev", "one"), prod=as_user("prod", "prod", "two"))
    done = bench.promote("app:v1")
    assert done.digest == image.digest == shared.tags("prod/app")["v1"]
    assert (users(shared, "/dev/"), users(shared, "/prod/")) == ({"dev"}, {"prod"})
    # This registry would have mounted: it does not look at who may read the other folder.
    assert shared.count("POST", "mount=") == 0
    assert done.progress.bytes_copied == sum(map(len, image.all_blobs().values()))


def test_one_identity_mounts(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    both = make_registry(auth="basic", username="bob", password="pw")
    image = both.put_image("dev/app", "v1")
    (file := tmp_path / "password").write_text("pw")
    ends = [
        {"registry": f"{both.url}/{folder}", "username": "bob", "password_file": file}
        for folder in ("dev", "prod")
    ]
    done = make_bench(dev=ends[0], prod=ends[1]).promote("app:v1")
    assert done.progress.bytes_mounted == sum(map(len, image.all_blobs().values()))


def test_the_wrong_one_of_two_identities_is_denied(
    make_bench: MakeBench, shared: Registry, as_user: Callable[..., dict[str, Any]]
) -> None:
    shared.put_image("dev/app", "v1")
    bench = make_bench(dev=as_user("dev", "dev", "one"), prod=as_user("prod", "dev", "one"))
    with pytest.raises(EndpointDenied):
        bench.promote("app:v1")
    assert users(shared, "/prod/") == {"dev"}


def bearer(make_registry: MakeRegistry, tmp_path: Path) -> tuple[Registry, dict[str, Any]]:
    registry = make_registry(auth="bearer", username="bob", password="pw")
    (file := tmp_path / "bob").write_text("pw")
    return registry, {"registry": registry.url, "username": "bob", "password_file": file}


def test_a_token_for_one_repository_does_not_wait_for_another_s(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    prod, end = bearer(make_registry, tmp_path)
    dev, held = make_registry(), threading.Event()
    for name in ("slow", "fast"):
        dev.put_image(name, "v1")
    waiting = prod.inject(Fault(hold=held), pattern="/token.*slow")
    bench = make_bench(dev=dev.url, prod=end)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(bench.promote, "slow:v1")
        try:
            assert waiting.struck.wait(20)
            bench.promote("fast:v1")
            assert not slow.done()
        finally:
            held.set()
        slow.result(20)
    assert prod.count("GET", "^/token") == 2


def test_a_token_that_many_wait_for_is_fetched_once(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    prod, end = bearer(make_registry, tmp_path)
    dev, held = make_registry(), threading.Event()
    for tag in ("v1", "v2", "v3", "v4"):
        dev.put_image("app", tag)
    bench = make_bench(dev=dev.url, prod=end)
    waiting = prod.inject(Fault(hold=held), pattern="^/token", times=None)
    with ThreadPoolExecutor(4) as pool:
        plans = [pool.submit(bench.plan, f"app:{tag}") for tag in ("v1", "v2", "v3", "v4")]
        try:
            assert waiting.struck.wait(20)
        finally:
            held.set()
        for plan in plans:
            plan.result(20)
    assert prod.count("GET", "^/token") == 1


def test_all_tokens_expire_while_blobs_are_under_way(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    dev, end = bearer(make_registry, tmp_path)
    image, prod = dev.put_image("app", "v1"), make_registry()
    expired: list[str] = []

    def expire(request: Request) -> None:
        if request.method == "GET" and "/blobs/" in request.path and not expired:
            expired.append(request.path)
            dev.expire_tokens()

    dev.faults.append(expire)
    done = make_bench(dev=end, prod=prod.url).promote("app:v1")
    assert done.digest == image.digest
    assert expired
    assert dev.count("GET", "^/token") == 2
    assert done.progress.bytes_copied == sum(map(len, image.all_blobs().values()))


def test_ecr_public_says_400_when_a_token_has_expired(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path
) -> None:
    dev, end = bearer(make_registry, tmp_path)
    image, prod = dev.put_image("app", "v1"), make_registry()
    bench: Bench = make_bench(dev=end, prod=prod.url)
    bench.plan("app:v1")
    old = next(
        token
        for r in dev.requests
        if (token := r.headers.get("Authorization")).startswith("Bearer ")
    )
    body = b'{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}'

    def expired(request: Request) -> Fault | None:
        if request.headers.get("Authorization") != old or request.method == "HEAD":
            return None
        return Fault(answer=Response(400, {}, body))

    dev.faults.append(expired)
    assert bench.promote("app:v1").digest == image.digest
    assert dev.count("GET", "^/token") == 2


@pytest.fixture
def aws_over_tls(tls_files: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> HttpServer:
    """Return an API over TLS, whose authority nobody trusts by nature."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return HttpServer(
        lambda request: Response(200, {}, b"{}"), tls_cert=tls_files.cert, tls_key=tls_files.key
    )


@pytest.mark.parametrize(
    ("variables", "trusted"),
    [
        ({}, False),
        ({"SSL_CERT_FILE": "ours"}, True),
        ({"AWS_CA_BUNDLE": "ours", "SSL_CERT_FILE": "other"}, True),
        ({"AWS_CA_BUNDLE": "other", "SSL_CERT_FILE": "ours"}, False),
    ],
)
def test_ecr_s_api_is_trusted_by_the_server_s_own_roots(
    aws_over_tls: HttpServer,
    tls_files: TlsFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    trusted: bool,
) -> None:
    roots = {"ours": tls_files.ca, "other": make_tls_files(tmp_path).ca}
    for name, whose in variables.items():
        monkeypatch.setenv(name, str(roots[whose]))
    with aws_over_tls as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", server.url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        account = EcrAccount(ImageEndpoint(registry="r.test", auth="ecr"), "us-east-1")
        try:
            if trusted:
                account.call("ask", lambda api: api.get_authorization_token())
            else:
                with pytest.raises(EndpointUnreachable):
                    account.call("ask", lambda api: api.get_authorization_token())
        finally:
            account.close()
        assert bool(server.requests) == trusted
