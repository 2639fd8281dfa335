"""Finding an issuer's keys: what it says of itself must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from imgctl_core.auth.discovery import check_addresses, fetch_keys
from imgctl_core.auth.fetch import FetchFailed
from imgctl_core.errors import InvalidSetting
from tests.core.auth.conftest import Reply

if TYPE_CHECKING:
    from tests.core.auth.conftest import Origin
    from tests.core.auth.kit import Kit


def test_the_keys_are_found(kit: Kit, origin: Origin) -> None:
    origin.publish(kit.rsa.jwk(), kit.ec.jwk())
    assert set(fetch_keys(origin.url, timeout=5).keys) == {"rsa", "ec"}
    assert origin.requests == ["GET /.well-known/openid-configuration", "GET /keys"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_issuer_with_a_path(kit: Kit, origin: Origin, slash: str) -> None:
    issuer = f"{origin.url}/dex{slash}"
    origin.publish(kit.rsa.jwk())
    origin.json(
        "/dex/.well-known/openid-configuration",
        {"issuer": issuer, "jwks_uri": f"{origin.url}/keys"},
    )
    assert set(fetch_keys(issuer, timeout=5).keys) == {"rsa"}


@pytest.mark.parametrize("change", [str.upper, lambda url: url + "/", lambda url: None])
def test_58_the_issuer_must_be_the_one_we_were_told(
    kit: Kit, origin: Origin, change: Callable[[str], object]
) -> None:
    origin.publish(kit.rsa.jwk(), issuer=change(origin.url))
    with pytest.raises(FetchFailed, match="OIDC_ISSUER_URL must be that to the letter"):
        fetch_keys(origin.url, timeout=5)
    assert "GET /keys" not in origin.requests


@pytest.mark.parametrize(
    "address",
    [
        "http://keys.example.com/keys",
        "https://keys.example.com/keys",
        "https://127.0.0.1:{port}/keys",
        "http://localhost:{port}/keys",
        "http://127.0.0.1:1/keys",
        "http://127.0.0.1/keys",
        "http://127.0.0.1:{port}@evil.example.com/keys",
        "http://user@127.0.0.1:{port}/keys",
        "http://127.0.0.1:nine/keys",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/keys",
        "//127.0.0.1:{port}/keys",
        "/keys",
        "http://[::1/keys",
        "http://127.0.0.1:{port}/ke\tys",
        "http://127.0.0.1:{port}\\.evil.example.com/keys",
        "http://127.0.0.1:{port}/keys#a",
        "",
        None,
        7,
    ],
)
def test_58_the_keys_must_be_at_the_issuers_own_origin(
    kit: Kit, origin: Origin, address: object
) -> None:
    origin.publish(kit.rsa.jwk())
    if isinstance(address, str):
        address = address.replace("{port}", str(origin.port))
    origin.json("/.well-known/openid-configuration", {"issuer": origin.url, "jwks_uri": address})
    with pytest.raises(FetchFailed, match="jwks_uri"):
        fetch_keys(origin.url, timeout=5)
    assert "GET /keys" not in origin.requests


def test_58_a_default_port_is_the_same_origin(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(url: str, *, timeout: float) -> dict[str, object]:
        asked.append(url)
        if url.endswith("/keys"):
            return {"keys": [kit.rsa.jwk()]}
        return {"issuer": kit.issuer, "jwks_uri": "https://DEX.example.com:443/keys"}

    monkeypatch.setattr("imgctl_core.auth.discovery.get_object", answer)
    assert set(fetch_keys(kit.issuer, timeout=5).keys) == {"rsa"}
    assert asked[1] == "https://DEX.example.com:443/keys"


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": {"rsa": 1}}])
def test_57_an_answer_without_keys(kit: Kit, origin: Origin, document: object) -> None:
    origin.publish(kit.rsa.jwk())
    origin.json("/keys", document)
    with pytest.raises(FetchFailed, match="no keys"):
        fetch_keys(origin.url, timeout=5)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://dex.example.com",
        "https://dex.example.com:5556/dex",
        "http://127.0.0.1:5556/dex",
        "http://localhost:5556",
        "http://[::1]:5556",
    ],
)
def test_a_usable_issuer(issuer: str) -> None:
    check_addresses(issuer)


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "dex.example.com",
        "http://dex.example.com",
        "http://localhost.example.com",
        "http://127.1:5556",
        "http://0.0.0.0:5556",
        "https://",
        "https://user:pw@dex.example.com",
        "https://dex.example.com:port",
        "https://dex.example.com/?a=b",
        "https://dex.example.com/#a",
        "https://dex.example.com\n",
        "https://dex.exam\tple.com",
        "https://dex.example.com\\@evil.example.com",
        "https://d\u00e9x.example.com",
        "file:///etc/passwd",
    ],
)
def test_an_issuer_that_is_none(issuer: str) -> None:
    with pytest.raises(InvalidSetting) as wrong:
        check_addresses(issuer)
    assert "OIDC_ISSUER_URL" in wrong.value.fix
    assert "pw" not in wrong.value.message


def test_keys_that_the_operator_says_are_elsewhere(kit: Kit, origin: Origin) -> None:
    """An issuer of this name is not even reachable from here."""
    origin.json("/inside/keys", {"keys": [kit.rsa.jwk()]})
    address = f"{origin.url}/inside/keys"
    assert set(fetch_keys(kit.issuer, address, timeout=5).keys) == {"rsa"}
    assert origin.requests == ["GET /inside/keys"]


def test_57_no_redirect_is_followed_to_keys_elsewhere(
    kit: Kit, origin: Origin, new_origin: Callable[[], Origin]
) -> None:
    origin.publish(kit.rsa.jwk())
    other = new_origin()
    other.replies["/keys"] = Reply(status=302, headers={"Location": f"{origin.url}/keys"})
    with pytest.raises(FetchFailed, match="status 302"):
        fetch_keys(kit.issuer, f"{other.url}/keys", timeout=5)
    assert origin.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "http://dex.dex.svc.cluster.local:5556/keys",
        "https://user:pw@dex.example.com/keys",
        "https://dex.example.com/keys#a",
        "file:///etc/keys",
        "/keys",
    ],
)
def test_58_keys_elsewhere_must_be_safe_to_fetch(kit: Kit, address: str) -> None:
    with pytest.raises(InvalidSetting) as wrong:
        check_addresses(kit.issuer, address)
    assert "OIDC_JWKS_URI" in wrong.value.fix
    assert "pw" not in wrong.value.message
    check_addresses(kit.issuer, "https://dex.dex.svc/keys?tenant=1")
