"""Everything imgctl talks to, in this process, on loopback ports chosen by the system."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from moto.server import ThreadedMotoServer

from imgctl_cli.sandbox.sample import upload_build
from imgctl_core.server.assemble import assemble, configure_plugins
from imgctl_core.server.run import server_of
from imgctl_core.settings import load_settings
from imgctl_core.testing.issuer import Issuer, User
from imgctl_core.testing.registry import Registry

_CLIENT_ID, _CLIENT_SECRET = "imgctl-cli", "sandbox-secret"
_GROUP = "engineering"
#: What the client asks for by default: https and the server's host name.
_AUDIENCE = "https://127.0.0.1"
_BUILD, _BUILD_VERSION = "shop", "1.4.2"

#: What of the person's own settings would lead out of the sandbox.
_OWN = ("AWS_", "IMGCTL_", "OIDC_")


class Sandbox:
    """A world to try imgctl in. Use it in a `with`: everything is gone afterwards.

    `environment` holds what a process needs to live in it. `image` and `build` can be
    promoted from dev to prod, `conflict` can't: prod holds something else under it.
    `other_key` is the public key of bob, who is in no group that may do anything.
    """

    image = "myapp:v1.0.0"
    conflict = "myapp:v0.9.0"
    build = f"spa:{_BUILD}:{_BUILD_VERSION}"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.environment: dict[str, str] = {}
        self.other_key = Path()

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _build(self) -> None:
        folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="imgctl-sandbox-"))
        )
        own_key, self.other_key = _make_key(folder, "alice"), _make_key(folder, "bob")
        registries = {name: self._stack.enter_context(Registry()) for name in ("dev", "prod")}
        registries["dev"].put_image("myapp", "v1.0.0")
        registries["dev"].put_image("myapp", "v0.9.0")
        registries["prod"].put_image("myapp", "v0.9.0", registries["dev"].put_image("other", "v1"))
        issuer = self._stack.enter_context(
            Issuer(
                users={
                    "alice": User(
                        keys=(_line(own_key),), groups=(_GROUP,), email="alice@example.com"
                    ),
                    "bob": User(
                        keys=(_line(self.other_key),), groups=("sales",), email="bob@example.com"
                    ),
                },
                clients={_CLIENT_ID: _CLIENT_SECRET},
            )
        )
        aws = self._start_s3()
        server = {
            **aws,
            "OIDC_ISSUER_URL": issuer.url,
            "OIDC_AUDIENCE": _AUDIENCE,
            "OIDC_ALLOWED_GROUPS": _GROUP,
            "IMGCTL_AUDIT_LOG": str(folder / "audit.jsonl"),
            "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
            "IMGCTL_SPA_DEV": "dev",
            "IMGCTL_SPA_PROD": "prod",
            **{
                f"IMGCTL_REGISTRY_{name.upper()}": registry.url
                for name, registry in registries.items()
            },
        }
        self.environment = {
            **server,
            "IMGCTL_SERVER": self._start_server(server),
            "DEX_URL": issuer.url,
            "IMGCTL_CLIENT_ID": _CLIENT_ID,
            "IMGCTL_CLIENT_SECRET": _CLIENT_SECRET,
            "IMGCTL_PUBKEY_FILE": str(own_key),
            "KUBECTL_SSH_USER": "alice",
            # The person's own settings and tokens stay out, and ours stay in here.
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
            "SSH_AUTH_SOCK": "",
        }

    def _start_s3(self) -> dict[str, str]:
        # Not werkzeug's lines about every request, between ours.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        self._stack.callback(moto.stop)
        host, port = moto.get_host_and_port()
        aws = {
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        s3: Any = boto3.session.Session(
            aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
            region_name=aws["AWS_DEFAULT_REGION"],
        ).client("s3", endpoint_url=aws["AWS_ENDPOINT_URL_S3"])
        for suffix in ("dev", "prod"):
            s3.create_bucket(Bucket=f"{_BUILD}-{suffix}")
        upload_build(s3, f"{_BUILD}-dev", _BUILD_VERSION)
        return aws

    def _start_server(self, environment: Mapping[str, str]) -> str:
        # boto3 inside the server reads the process's own environment.
        self._stack.callback(_restore, dict(os.environ))
        for name in [name for name in os.environ if name.startswith(_OWN)]:
            del os.environ[name]
        os.environ.update(environment)
        settings = load_settings(environ=environment)
        parts = assemble(settings, configure_plugins(settings))
        self._stack.callback(parts.close)
        server = server_of(settings, parts)
        parts.keys.start()
        server.start()
        self._stack.callback(server.drain, 2.0, 0.5)
        _wait_until_ready(lambda: parts.keys.ready)
        return server.address


def _restore(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _wait_until_ready(ready: Any) -> None:
    until = time.monotonic() + 10
    while not ready() and time.monotonic() < until:
        time.sleep(0.01)


def _make_key(folder: Path, user: str) -> Path:
    """Write a key pair as ssh-keygen would, and return the public key's path."""
    key = Ed25519PrivateKey.generate()
    private = folder / f"id_{user}"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    public = private.with_suffix(".pub")
    line = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    public.write_text(f"{line.decode()} {user}\n")
    return public


def _line(public_key: Path) -> str:
    return public_key.read_text().strip()
