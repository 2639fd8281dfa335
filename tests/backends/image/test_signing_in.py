"""Credentials: where they come from, to whom they go, and to whom never."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgctl_core.errors import EndpointDenied, EndpointFailed, ImgctlError, InvalidSetting
from imgctl_core.testing.httpd import Fault, HttpServer, Request, Response
from imgctl_core.testing.registry import Registry

if TYPE_CHECKING:
    from tests.backends.image.conftest import Bench, MakeBench

SECRET = "s3cret-Pa55"
MakeRegistry = Callable[..., Registry]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    """Return a function that writes a docker config file."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    def write(content: object) -> Path:
        path = folder / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def serve() -> Iterator[Callable[..., HttpServer]]:
    """Return a function that starts a server of any kind."""
    with ExitStack() as stack:
        yield lambda handler, **how: stack.enter_context(HttpServer(handler, **how))


def encoded(username: str = "bob", password: str = SECRET) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_user_name_and_a_password_file(
    make_bench: MakeBench, make_registry: MakeRegistry, password_file: Path, auth: str
) -> None:
    ends = [make_registry(auth=auth, username="bob", password=SECRET) for _ in range(2)]
    image = ends[0].put_image("app", "v1")
    fields = [
        {"registry": end.url, "username": "bob", "password_file": password_file} for end in ends
    ]
    assert make_bench(dev=fields[0], prod=fields[1]).promote("app:v1").digest == image.digest
    tokens = [end.count("GET", "^/token") for end in ends]
    assert tokens == ([1, 1] if auth == "bearer" else [0, 0])


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_wrong_credentials_are_denied_and_not_shown(
    make_bench: MakeBench, make_registry: MakeRegistry, tmp_path: Path, auth: str
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("Wr0ng-Pa55")
    dev = make_registry(auth=auth, username="bob", password=SECRET)
    dev.put_image("app", "v1")
    bench = make_bench(
        dev={"registry": dev.url, "username": "bob", "password_file": wrong},
        prod=make_registry().url,
    )
    with pytest.raises(EndpointDenied) as caught:
        bench.plan("app:v1")
    assert "Wr0ng" not in caught.value.message + caught.value.fix
    assert dev.count("HEAD") <= 2


def test_anonymous_pull_with_a_token(make_bench: MakeBench, make_registry: MakeRegistry) -> None:
    dev, prod = make_registry(auth="bearer", anonymous_pull=True), make_registry()
    image = dev.put_image("app", "v1")
    assert make_bench(dev=dev.url, prod=prod.url).promote("app:v1").digest == image.digest


def test_a_changed_password_is_read_again(
    make_bench: MakeBench, make_registry: MakeRegistry, password_file: Path
) -> None:
    dev, prod = make_registry(auth="basic", username="bob", password=SECRET), make_registry()
    dev.put_image("app", "v1")
    bench = make_bench(
        dev={"registry": dev.url, "username": "bob", "password_file": password_file},
        prod=prod.url,
    )
    bench.plan("app:v1")
    dev._access._login = b"bob:new"
    password_file.write_text("new")
    bench.plan("app:v1")


def test_a_token_that_is_refused_is_fetched_anew(
    make_bench: MakeBench, make_registry: MakeRegistry, password_file: Path
) -> None:
    dev = make_registry()
    prod = make_registry(auth="bearer", username="bob", password=SECRET)
    image = dev.put_image("app", "v1")
    bench = make_bench(
        dev=dev.url, prod={"registry": prod.url, "username": "bob", "password_file": password_file}
    )
    # In the middle of the copy: the first upload meets a token that is good no more.
    expired: list[str] = []

    def expire(request: Request) -> Fault | None:
        if request.method == "PUT" and "/blobs/uploads/" in request.path and not expired:
            expired.append(request.target)
            prod.expire_tokens()
        return None

    prod.faults.append(expire)
    assert bench.promote("app:v1").digest == image.digest
    assert expired
    assert prod.count("GET", "^/token") == 2


def test_one_token_serves_all_threads(
    make_bench: MakeBench, make_registry: MakeRegistry, password_file: Path
) -> None:
    prod = make_registry(auth="bearer", username="bob", password=SECRET)
    dev = make_registry()
    dev.put_image("app", "v1")
    fields = {"registry": prod.url, "username": "bob", "password_file": password_file}
    make_bench(dev=dev.url, prod=fields).promote("app:v1")
    assert prod.count("GET", "^/token") == 1


def test_a_token_is_renewed_before_it_ends(
    make_bench: MakeBench, make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    dev = make_registry(auth="bearer", anonymous_pull=True, token_lifetime=300)
    dev.put_image("app", "v1")
    bench = make_bench(dev=dev.url, prod=make_registry().url)
    now, real = [0.0], time.monotonic
    monkeypatch.setattr("imgctl_backends.image.signin.auth.time.monotonic", lambda: real() + now[0])
    bench.plan("app:v1")
    now[0] = 250.0
    bench.plan("app:v1")
    assert dev.count("GET", "^/token") == 1
    now[0] = 280.0
    bench.plan("app:v1")
    assert dev.count("GET", "^/token") == 2


@pytest.mark.parametrize("key", ["{host}", "http://{host}", "https://{host}/v1/"])
def test_the_docker_config_file(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    docker_config: Callable[[object], Path],
    key: str,
) -> None:
    dev = make_registry(auth="basic", username="bob", password=SECRET)
    image = dev.put_image("app", "v1")
    docker_config({"auths": {key.format(host=dev.host): {"auth": encoded()}}})
    prod = make_registry()
    assert make_bench(dev=dev.url, prod=prod.url).promote("app:v1").digest == image.digest
    assert not any("Authorization" in r.headers for r in prod.requests)


def test_auth_none_ignores_the_docker_config_file(
    make_bench: MakeBench, make_registry: MakeRegistry, docker_config: Callable[[object], Path]
) -> None:
    dev = make_registry(auth="basic", username="bob", password=SECRET)
    docker_config({"auths": {dev.host: {"auth": encoded()}}})
    bench = make_bench(dev={"registry": dev.url, "auth": "none"}, prod=make_registry().url)
    with pytest.raises(EndpointDenied):
        bench.plan("app:v1")
    assert not any("Authorization" in r.headers for r in dev.requests)


def test_auth_basic_without_credentials_says_where_they_belong(
    make_bench: MakeBench, make_registry: MakeRegistry
) -> None:
    dev = make_registry()
    bench = make_bench(dev={"registry": dev.url, "auth": "basic"}, prod=make_registry().url)
    with pytest.raises(EndpointDenied) as caught:
        bench.plan("app:v1")
    assert "password_file" in caught.value.fix
    assert dev.requests == ()


@pytest.mark.parametrize("table", ["credHelpers", "credsStore"])
def test_a_credential_helper(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    docker_config: Callable[[object], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
) -> None:
    dev = make_registry(auth="basic", username="bob", password=SECRET)
    dev.put_image("app", "v1")
    helper = tmp_path / "docker-credential-kit"
    helper.write_text(
        "#!/bin/sh\nread -r host\n"
        f'[ "$1 $host" = "get {dev.host}" ] || {{ echo "credentials not found"; exit 1; }}\n'
        f'echo \'{{"Username": "bob", "Secret": "{SECRET}"}}\'\n'
    )
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    docker_config({table: "kit" if table == "credsStore" else {dev.host: "kit"}})
    assert make_bench(dev=dev.url, prod=make_registry().url).plan("app:v1").digest


@pytest.mark.parametrize(
    ("config", "expected", "text"),
    [
        ("{not json", InvalidSetting, "JSON"),
        ({"credsStore": "../../bin/sh"}, InvalidSetting, "bad name"),
        ({"credsStore": "is-not-there"}, EndpointDenied, "not installed"),
    ],
)
def test_a_docker_config_that_can_not_be_used(
    bench: Bench,
    docker_config: Callable[[object], Path],
    config: object,
    expected: type[ImgctlError],
    text: str,
) -> None:
    docker_config(config)
    with pytest.raises(expected, match=text):
        bench.plan("app:v1")


def test_an_identity_token_is_exchanged(
    make_bench: MakeBench,
    serve: Callable[..., HttpServer],
    make_registry: MakeRegistry,
    docker_config: Callable[[object], Path],
) -> None:
    asked: list[bytes] = []

    def handle(request: Request) -> Response:
        if request.path == "/token":
            asked.append(b"".join(request.body))
            return Response(200, {}, b'{"access_token": "t0k3n"}')
        if request.headers.get("Authorization") == "Bearer t0k3n":
            return Response(404)
        realm = f'Basic realm="x", Bearer realm="{server.url}/token",service="kit"'
        return Response(401, {"WWW-Authenticate": realm})

    server = serve(handle)
    docker_config({"auths": {server.host: {"identitytoken": "1d3nt1ty"}}})
    with pytest.raises(ImgctlError, match="has no image app:v1"):
        make_bench(dev=server.url, prod=make_registry().url).plan("app:v1")
    assert b"grant_type=refresh_token" in asked[0]
    assert b"refresh_token=1d3nt1ty" in asked[0]
    assert b"scope=repository%3Aapp%3Apull" in asked[0]


def bearer_at(realm: str) -> Response:
    return Response(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})


def test_credentials_do_not_follow_a_realm_to_another_host(
    make_bench: MakeBench,
    serve: Callable[..., HttpServer],
    make_registry: MakeRegistry,
    password_file: Path,
) -> None:
    thief = serve(lambda request: Response(200, {}, b'{"token": "x"}'))
    realm = thief.url.replace("127.0.0.1", "localhost") + "/token"
    dev = serve(lambda request: bearer_at(realm))
    fields = {"registry": dev.url, "username": "bob", "password_file": password_file}
    with pytest.raises(EndpointDenied) as caught:
        make_bench(dev=fields, prod=make_registry().url).plan("app:v1")
    assert "token_hosts" in caught.value.fix
    assert thief.requests == ()


def test_an_anonymous_realm_at_a_private_address_is_not_asked(
    make_bench: MakeBench, serve: Callable[..., HttpServer], make_registry: MakeRegistry
) -> None:
    inside = serve(lambda request: Response(200, {}, b'{"token": "x"}'))
    dev = serve(lambda request: bearer_at(inside.url.replace("127.0.0.1", "localhost")))
    with pytest.raises(EndpointFailed, match="private address"):
        make_bench(dev=dev.url, prod=make_registry().url).plan("app:v1")
    assert inside.requests == ()


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "http://", "/token"])
def test_a_realm_that_is_none(
    make_bench: MakeBench,
    serve: Callable[..., HttpServer],
    make_registry: MakeRegistry,
    realm: str,
) -> None:
    dev = serve(lambda request: bearer_at(realm))
    with pytest.raises(EndpointFailed, match="realm"):
        make_bench(dev=dev.url, prod=make_registry().url).plan("app:v1")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}'])
def test_a_token_answer_that_is_none(
    make_bench: MakeBench,
    serve: Callable[..., HttpServer],
    make_registry: MakeRegistry,
    body: bytes,
) -> None:
    def handle(request: Request) -> Response:
        return Response(200, {}, body) if request.path == "/t" else bearer_at(dev.url + "/t")

    dev = serve(handle)
    with pytest.raises(EndpointFailed, match="token answer"):
        make_bench(dev=dev.url, prod=make_registry().url).plan("app:v1")


def redirecting(dev: Registry, target: str, *, method: str = "GET") -> None:
    def hook(request: Request) -> Fault | None:
        if request.method != method or "/blobs/sha256" not in request.path:
            return None
        return Fault(answer=Response(307, {"Location": target + request.path}))

    dev.faults.append(hook)


def test_a_redirect_is_followed_without_the_credentials(
    make_bench: MakeBench, make_registry: MakeRegistry, password_file: Path
) -> None:
    dev = make_registry(auth="basic", username="bob", password=SECRET)
    storage, prod = make_registry(), make_registry()
    image = dev.put_image("app", "v1")
    storage.put_image("app", "v1", image)
    redirecting(dev, storage.url)
    fields = {"registry": dev.url, "username": "bob", "password_file": password_file}
    make_bench(dev=fields, prod=prod.url).promote("app:v1")
    assert storage.count("GET", "/blobs/") == len(image.all_blobs())
    assert not any("Authorization" in r.headers for r in storage.requests)
    assert all("Authorization" in r.headers for r in dev.requests)


def test_a_redirect_to_a_private_address_is_refused_unless_it_is_listed(
    make_bench: MakeBench, make_registry: MakeRegistry
) -> None:
    dev, storage, prod = make_registry(), make_registry(), make_registry()
    image = dev.put_image("app", "v1")
    storage.put_image("app", "v1", image)
    redirecting(dev, storage.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(EndpointFailed) as caught:
        make_bench(dev=dev.url, prod=prod.url).promote("app:v1")
    assert "private address" in caught.value.message
    assert storage.requests == ()
    listed = {"registry": dev.url, "token_hosts": ["localhost"]}
    assert make_bench(dev=listed, prod=prod.url).promote("app:v1").digest == image.digest


def test_an_upload_location_elsewhere_gets_no_credentials(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    serve: Callable[..., HttpServer],
    password_file: Path,
) -> None:
    dev, prod = make_registry(), make_registry(auth="basic", username="bob", password=SECRET)
    dev.put_image("app", "v1")
    thief = serve(lambda request: Response(418))
    away = Fault(answer=Response(202, {"Location": thief.url + "/take"}))
    prod.inject(away, method="POST", times=None)
    fields = {"registry": prod.url, "username": "bob", "password_file": password_file}
    with pytest.raises(EndpointFailed):
        make_bench(dev=dev.url, prod=fields).promote("app:v1")
    assert thief.requests
    assert not any("Authorization" in r.headers for r in thief.requests)


def test_redirects_in_circles_end(bench: Bench, dev: Registry) -> None:
    dev.put_image("app", "v1")
    redirecting(dev, "")
    with pytest.raises(EndpointFailed, match="circles"):
        bench.promote("app:v1")


def test_two_identities_on_one_host_are_kept_apart(
    make_bench: MakeBench, make_registry: MakeRegistry, password_file: Path
) -> None:
    one = make_registry(auth="basic", username="bob", password=SECRET)
    one.put_image("dev/app", "v1")
    bench = make_bench(
        dev={"registry": f"{one.url}/dev", "username": "bob", "password_file": password_file},
        prod={"registry": f"{one.url}/prod", "auth": "none"},
    )
    with pytest.raises(EndpointDenied):
        bench.plan("app:v1")
    sent = {r.path: "Authorization" in r.headers for r in one.requests if "/prod/" in r.path}
    assert sent == {"/v2/prod/app/manifests/v1": False}


def test_no_secret_is_in_any_text(
    make_bench: MakeBench,
    make_registry: MakeRegistry,
    password_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import logging

    dev = make_registry(auth="bearer", username="bob", password=SECRET)
    dev.put_image("app", "v1")
    fields = {"registry": dev.url, "username": "bob", "password_file": password_file}
    bench = make_bench(dev=fields, prod=make_registry().url)
    with caplog.at_level(logging.DEBUG):
        done = bench.promote("app:v1")
    engine: Any = bench.promoter._engine()
    shown = [caplog.text, repr(done), repr(bench.promoter.endpoints)]
    shown += [repr(vars(r._auth)) for r in engine._registries.values()]
    for text in shown:
        assert SECRET not in text
        assert encoded() not in text
        assert "Bearer " not in text
