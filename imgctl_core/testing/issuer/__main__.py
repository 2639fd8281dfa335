"""The issuer as a program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imgctl_core.testing.httpd.server import wait_forever
from imgctl_core.testing.issuer.app import Issuer
from imgctl_core.testing.issuer.users import User


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} has not the form NAME=VALUE")
    return name, value


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgctl_core.testing.issuer",
        description="An OpenID issuer for tests, with Dex's login by SSH key.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, picks one")
    add("--path", default="", help="what follows the host in the issuer's URL")
    add("--tls-cert", type=Path, help="PEM file with the certificate")
    add("--tls-key", type=Path, help="PEM file with its key")
    add("--mode", choices=("fork", "upstream"), default="fork")
    add("--user", type=_pair, action="append", default=[], metavar="NAME=PUBLIC_KEY_FILE")
    add("--group", type=_pair, action="append", default=[], metavar="NAME=GROUP")
    add("--client", type=_pair, action="append", default=[], metavar="ID=SECRET")
    add("--trust", type=_pair, action="append", default=[], metavar="ID=PEER")
    add("--token-lifetime", type=int, default=24 * 3600, help="seconds")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted. The first line of output is the URL."""
    options = _arguments(argv)
    users = {
        name: User(
            keys=tuple(
                Path(file).expanduser().read_text("utf-8").strip()
                for owner, file in options.user
                if owner == name
            ),
            groups=tuple(group for owner, group in options.group if owner == name),
        )
        for name, _ in options.user
    }
    peers: dict[str, tuple[str, ...]] = {}
    for client, peer in options.trust:
        peers[client] = (*peers.get(client, ()), peer)
    issuer = Issuer(
        users,
        dict(options.client),
        trusted_peers=peers,
        mode=options.mode,
        path=options.path,
        token_lifetime=options.token_lifetime,
        host=options.host,
        port=options.port,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
    )
    with issuer:
        print(issuer.url, flush=True)  # noqa: T201
        wait_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
