"""The ECR-shaped registry as a program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imgctl_core.testing.ecr.app import EcrRegistry
from imgctl_core.testing.ecr.validator import Lag
from imgctl_core.testing.httpd.server import wait_forever


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgctl_core.testing.ecr",
        description="A registry for tests that behaves as Amazon ECR does, with its API.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, picks one")
    add("--api-port", type=int, default=0, help="port of the API, for AWS_ENDPOINT_URL_ECR")
    add("--tls-cert", type=Path, help="PEM file with the registry's certificate")
    add("--tls-key", type=Path, help="PEM file with its key")
    add("--account", default="123456789012")
    add("--region", default="eu-west-1")
    add("--token-lifetime", type=float, default=12 * 3600.0, help="seconds")
    add("--link-lifetime", type=float, default=3600.0, help="seconds that links to blobs are good")
    add("--folder", type=Path, help="keep blobs in files there")
    add("--repository", action="append", default=[], dest="repositories", help="make this one")
    add("--immutable", action="store_true", help="tags of those are immutable")
    add("--blob-mounting", action="store_true", help="the account setting of that name")
    add("--lag", type=float, default=0.0, help="seconds until manifests see a new blob")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted. The first lines are the registry's and the API's URL."""
    options = vars(_arguments(argv))
    repositories, immutable = options.pop("repositories"), options.pop("immutable")
    mounting, lag = options.pop("blob_mounting"), Lag(seconds=options.pop("lag"))
    with EcrRegistry(**options) as registry:
        registry.blob_mounting = mounting
        registry.lag = lag
        for repository in repositories:
            registry.create(repository, immutable=immutable)
        print(registry.url, registry.api_url, sep="\n", flush=True)  # noqa: T201
        wait_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
