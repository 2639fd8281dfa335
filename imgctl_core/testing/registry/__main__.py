"""The registry as a program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imgctl_core.testing.httpd.server import wait_forever
from imgctl_core.testing.registry.app import LARGEST_MANIFEST, Registry


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgctl_core.testing.registry",
        description="An OCI registry for tests. It keeps everything in memory.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, picks one")
    add("--tls-cert", type=Path, help="PEM file with the certificate")
    add("--tls-key", type=Path, help="PEM file with its key")
    add("--auth", choices=("none", "basic", "bearer"), default="none")
    add("--username", default="")
    add("--password", default="")
    add("--anonymous-pull", action="store_true", help="everybody may read")
    add("--token-lifetime", type=float, default=300.0, help="seconds")
    add("--no-referrers", dest="referrers", action="store_false", help="that API answers 404")
    add("--no-delete", dest="delete", action="store_false", help="deleting answers 405")
    add("--no-mount", dest="mount", action="store_false", help="mounts become uploads")
    add("--read-only", action="store_true", help="every write answers 405")
    add("--immutable-tags", action="store_true", help="moving a tag answers 400 TAG_INVALID")
    add("--sparse", action="store_true", help="take manifests that name what is not there")
    add("--largest-manifest", type=int, default=LARGEST_MANIFEST, help="bytes")
    add("--page-size", type=int, default=0, help="entries of one page of a list, 0 for all")
    add("--chunk-min-length", type=int, default=0, help="bytes")
    add("--absolute-locations", action="store_true", help="Location headers name the host")
    add("--folder", type=Path, help="keep blobs in files there")
    add("--quiet", action="store_true", help="don't print requests")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted. The first line of output is the URL."""
    options = vars(_arguments(argv))
    quiet = options.pop("quiet")
    with Registry(**options) as registry:
        print(registry.url, flush=True)  # noqa: T201
        if not quiet:
            registry.on_request = lambda record: print(  # noqa: T201
                record.method, record.target, record.status, file=sys.stderr, flush=True
            )
        wait_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
