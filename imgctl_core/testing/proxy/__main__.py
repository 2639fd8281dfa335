"""The proxy as a program."""

from __future__ import annotations

import argparse
import sys

from imgctl_core.testing.httpd.server import wait_forever
from imgctl_core.testing.proxy.app import FaultProxy
from imgctl_core.testing.proxy.line import Line


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgctl_core.testing.proxy",
        description="A TCP proxy that makes a line bad.",
    )
    add = parser.add_argument
    add("target", help="where everything goes, as host:port")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, picks one")
    add("--latency", type=float, default=0.0, help="seconds, one way")
    add("--rate", type=float, default=0.0, help="bytes a second for each connection")
    add("--cut-after", type=int, metavar="BYTES", help="reset the connection then")
    add("--stall-after", type=int, metavar="BYTES", help="fall silent then")
    add("--direction", choices=("up", "down"), default="down", help="of the cut and the stall")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted. The first line of output is where it listens."""
    options = vars(_arguments(argv))
    target, port = options.pop("target"), options.pop("port")
    with FaultProxy(target, Line(**options), port=port) as proxy:
        print(proxy.host, flush=True)  # noqa: T201
        wait_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
