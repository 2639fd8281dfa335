"""The proxy as a program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imgctl_core.testing.faultproxy.app import HttpFaultProxy
from imgctl_core.testing.faultproxy.rules import Rule, parse_rule
from imgctl_core.testing.httpd.server import wait_forever


def _rule(text: str) -> Rule:
    try:
        return parse_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgctl_core.testing.faultproxy",
        description="An HTTP reverse proxy that lets chosen requests fail.",
    )
    add = parser.add_argument
    add("upstream", help="URL of the server behind")
    add("--upstream-ca", type=Path, help="PEM file: whom to trust when that is https")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, picks one")
    add("--tls-cert", type=Path, help="PEM file with the certificate")
    add("--tls-key", type=Path, help="PEM file with its key")
    add(
        "--rule",
        type=_rule,
        action="append",
        default=[],
        dest="rules",
        metavar="JSON",
        help='what fails, as in {"method": "GET", "pattern": "/blobs/", "times": 2, '
        '"cut_after": 1000}; may be repeated, the first that matches counts',
    )
    add("--quiet", action="store_true", help="don't print requests")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted. The first line of output is the URL."""
    options = vars(_arguments(argv))
    quiet, rules = options.pop("quiet"), options.pop("rules")
    with HttpFaultProxy(**options) as proxy:
        for rule in rules:
            rule.apply(proxy)
        if not quiet:
            proxy.on_request = lambda record: print(  # noqa: T201
                record.method, record.target, record.status, file=sys.stderr, flush=True
            )
        print(proxy.url, flush=True)  # noqa: T201
        wait_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
