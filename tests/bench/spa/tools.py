"""The tools that copy builds from bucket to bucket: imgctl, and the rivals."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tests.bench import programs
from tests.bench.copying import Tool
from tests.bench.lines import Route
from tests.bench.meters import Ended, run
from tests.bench.programs import program
from tests.bench.spa.builds import Build
from tests.bench.spa.world import SpaWorld

_TIMEOUT: Final = 600.0

SpaTool = Tool[SpaWorld, Build]
Copy = Callable[[SpaWorld, Route, Sequence[Build]], Ended]


def _imgctl(*more: str) -> Copy:
    def copy(world: SpaWorld, route: Route, builds: Sequence[Build]) -> Ended:
        (build,) = builds
        return world.promote(build.ref, "--source", route.source, "-d", route.destination, *more)

    return copy


def _rival(command: Callable[[str, str, str], Sequence[str]]) -> Copy:
    """Run what `command` makes of the endpoint's URL and the two places, without `s3://`."""

    def copy(world: SpaWorld, route: Route, builds: Sequence[Build]) -> Ended:
        (build,) = builds
        places = [f"shop-{suffix}/{build.version}" for suffix in ("dev", "prod")]
        url = f"http://{route.source_host}"
        name, *arguments = command(url, places[0], places[1])
        return run([str(program(name)), *arguments], world.rival_env, _TIMEOUT)

    return copy


def whole(copy: Copy) -> Copy:
    """Have a tool that left something out fail, whatever it says itself."""

    def checked(world: SpaWorld, route: Route, builds: Sequence[Build]) -> Ended:
        ended = copy(world, route, builds)
        for build in builds:
            there = world.destination.files(build.version)
            if ended.code == 0 and there != build.files:
                left = f"fail: it ended with {there} of {build.files} files there"
                ended = replace(ended, code=1, output=left)
        return ended

    return checked


def _s5cmd(url: str, source: str, destination: str) -> Sequence[str]:
    options = ("--endpoint-url", url, "--log", "error")
    return ("s5cmd", *options, "sync", f"s3://{source}/*", f"s3://{destination}/")


def _aws(url: str, source: str, destination: str) -> Sequence[str]:
    options = ("--endpoint-url", url, "--only-show-errors")
    return ("aws", "s3", "sync", f"s3://{source}", f"s3://{destination}", *options)


def _rclone(url: str, source: str, destination: str) -> Sequence[str]:
    options = ("--s3-endpoint", url, "--transfers", "200", "--checkers", "200")
    return ("rclone", "copy", f"s3:{source}", f"s3:{destination}", *options)


IMGCTL: Final = Tool("imgctl", "ours", whole(_imgctl()))
#: Against the stub, which has no files to count: what it must hold, it is asked.
IMGCTL_QUICK: Final = Tool("imgctl", "ours", _imgctl())
IMGCTL_PLAN: Final = Tool("imgctl --plan", "ours", _imgctl("--plan"))

S5CMD: Final = Tool("s5cmd sync", "default", whole(_rival(_s5cmd)))
AWS: Final = Tool("aws s3 sync", "default", whole(_rival(_aws)))
RCLONE: Final = Tool("rclone copy, 200 at once", "default", whole(_rival(_rclone)))

RIVALS: Final = (S5CMD, AWS, RCLONE)


def versions() -> dict[str, str]:
    """Return what each program says of its version."""
    said = programs.versions({"s5cmd": ("version",), "aws": ("--version",), "rclone": ("version",)})
    return {"versitygw": _gateway_version(), **said}


def _gateway_version() -> str:
    # One that was built by `go install` does not know its own version; Go does.
    asked = [str(program("go")), "version", "-m", str(program("versitygw"))]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^\s*mod\s+\S+\s+v(\S+)", told, re.MULTILINE)
    return found[1] if found else "unknown"


def check_programs() -> None:
    """Raise ProgramMissing unless every program of the benchmark is there."""
    for name in ("versitygw", "toxiproxy-server", "ssh-keygen", "go", "s5cmd", "aws", "rclone"):
        program(name)
