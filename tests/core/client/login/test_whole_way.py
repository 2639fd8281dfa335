"""From an SSH key to an actor: our login, the testing kit's issuer, our token check.

The issuer was written apart from the client and from the fake Dex of this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgctl_core.auth.jwks import JwksCache
from imgctl_core.auth.tokens import JoseTokenVerifier
from imgctl_core.client.login import LoginSettings, login
from imgctl_core.errors import LoginRefused
from imgctl_core.models import Actor
from imgctl_core.testing.issuer import Connector, Issuer, Mode, User
from imgctl_core.testing.ssh import SshKeyFiles
from imgctl_core.testing.tls import TlsFiles

SECRET = "s3cret-of-the-client"
GROUPS = ("engineering@example.com", "release")

Start = Callable[..., Issuer]


@pytest.fixture
def start(key_set: dict[str, SshKeyFiles]) -> Iterator[Start]:
    """Return a function that starts an issuer which knows alice by all her keys."""
    started: list[Issuer] = []

    def run(mode: Mode = "fork", *, tls: TlsFiles | None = None, **kwargs: object) -> Issuer:
        lines = tuple(files.line for files in key_set.values())
        issuer = Issuer(
            {"alice": User(lines, GROUPS, "alice@example.com", "Alice")},
            {"imgctl-cli": SECRET, "imgctl": "other"},
            trusted_peers={"imgctl": ("imgctl-cli",)},
            mode=mode,
            path="/dex",
            tls_cert=tls.cert if tls else None,
            tls_key=tls.key if tls else None,
            **kwargs,  # type: ignore[arg-type]
        )
        started.append(issuer)
        issuer.start()
        return issuer

    yield run
    for issuer in started:
        issuer.stop()


def settings(issuer: Issuer, files: SshKeyFiles, cache: Path, **kwargs: object) -> LoginSettings:
    base = {"audience": "https://imgctl.example.com", "username": "alice", **kwargs}
    return LoginSettings(
        dex_url=issuer.url,
        client_id="imgctl-cli",
        client_secret=SECRET,
        pubkey_file=files.public,
        cache_dir=cache,
        **base,  # type: ignore[arg-type]
    )


def check(issuer: Issuer, token: str, audience: str) -> Actor:
    cache = JwksCache(issuer.url)
    try:
        return JoseTokenVerifier(
            issuer=issuer.url,
            audience=audience,
            keys=cache,
            allowed_connectors=["ssh"],
            max_lifetime=86400,
        ).verify(token)
    finally:
        cache.close()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa"])
def test_every_key(
    kind: str, start: Start, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    issuer = start()
    token = login(settings(issuer, key_set[kind], tmp_path))
    actor = check(issuer, token.value, "https://imgctl.example.com")
    assert actor.email == "alice@example.com"
    assert set(actor.groups) == set(GROUPS)
    assert issuer.refusals == []


def test_stock_dex(start: Start, key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    issuer = start("upstream")
    files = key_set["ed25519"]
    with pytest.raises(LoginRefused, match="for imgctl-cli, not for"):
        login(settings(issuer, files, tmp_path))
    crossed = settings(issuer, files, tmp_path, audience="imgctl", audience_mode="cross-client")
    assert check(issuer, login(crossed).value, "imgctl").email == "alice@example.com"
    own = settings(issuer, files, tmp_path, audience_mode="client-id")
    assert check(issuer, login(own).value, "imgctl-cli").email == "alice@example.com"


def test_a_peer_that_is_not_trusted(
    start: Start, key_set: dict[str, SshKeyFiles], tmp_path: Path
) -> None:
    issuer = start("upstream")
    crossed = settings(
        issuer, key_set["ed25519"], tmp_path, audience="stranger", audience_mode="cross-client"
    )
    with pytest.raises(LoginRefused) as caught:
        login(crossed)
    assert "trustedPeers" in caught.value.fix


def test_over_tls(
    start: Start, key_set: dict[str, SshKeyFiles], tmp_path: Path, tls_files: TlsFiles
) -> None:
    issuer = start(tls=tls_files)
    assert issuer.url.startswith("https://")
    token = login(settings(issuer, key_set["ed25519"], tmp_path, ca_file=tls_files.ca))
    assert token.claims["email"] == "alice@example.com"


def test_another_instance(start: Start, key_set: dict[str, SshKeyFiles], tmp_path: Path) -> None:
    issuer = start(connector=Connector(instance_id="https://dex.example.com"))
    with pytest.raises(LoginRefused) as caught:
        login(settings(issuer, key_set["ed25519"], tmp_path))
    assert f"dex_instance_id must be {issuer.url}" in caught.value.fix
