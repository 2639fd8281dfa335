"""The tools that copy: imgctl, and the rivals with their best settings for a work."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import programs
from tests.bench.copying import Tool
from tests.bench.image.world import ImageWorld
from tests.bench.lines import Route
from tests.bench.meters import Ended, run
from tests.bench.programs import program

IMGCTL_NAME: Final = "imgctl"
_TIMEOUT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Image:
    """A repository, a tag in it, and the digests of the layers."""

    repository: str
    tag: str
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


Copy = Callable[[ImageWorld, Route, Sequence[Image]], Ended]
ImageTool = Tool[ImageWorld, Image]


def _imgctl(world: ImageWorld, route: Route, images: Sequence[Image]) -> Ended:
    ends = ("--source", route.source, "--destination", route.destination)
    if len(images) == 1:
        return world.promote(str(images[0]), *ends)
    release = world.folder / "release.yaml"
    release.write_text("items:\n" + "".join(f"- ref: {image}\n" for image in images))
    return world.promote("--file", str(release), *ends)


def _one_by_one(*before: str, after: Sequence[str] = (), prefix: str = "") -> Copy:
    """Run a command for each image: `before` SOURCE DESTINATION `after`."""

    def copy(world: ImageWorld, route: Route, images: Sequence[Image]) -> Ended:
        options = [part.format(certs=_home(world) / "certs", ca=world.ca_file) for part in after]
        commands = [
            [
                str(program(before[0])),
                *before[1:],
                f"{prefix}{route.source_host}/{image}",
                f"{prefix}{route.destination_host}/{image}",
                *options,
            ]
            for image in images
        ]
        if len(commands) == 1:
            return run(commands[0], world.rival_env, _TIMEOUT)
        script = "set -e\n" + "".join(f"{shlex.join(command)}\n" for command in commands)
        return run(["sh", "-c", script], world.rival_env, _TIMEOUT)

    return copy


def _xargs(jobs: int) -> Copy:
    def copy(world: ImageWorld, route: Route, images: Sequence[Image]) -> Ended:
        pairs = _home(world) / "pairs"
        pairs.write_text(
            "".join(
                f"{route.source_host}/{image} {route.destination_host}/{image}\n"
                for image in images
            )
        )
        command = [str(program("crane")), "copy"]
        shell = f"xargs -P{jobs} -L1 {shlex.join(command)} <{shlex.quote(str(pairs))}"
        return run(["sh", "-c", shell], world.rival_env, _TIMEOUT)

    return copy


def _regctl(requests: int) -> Copy:
    """Use regctl; `requests` is how many it sends at once to a host, 0 its default."""

    def copy(world: ImageWorld, route: Route, images: Sequence[Image]) -> Ended:
        env = dict(world.rival_env)
        if requests:
            home = _home(world) / f"regctl-{requests}"
            home.mkdir(exist_ok=True)
            env["HOME"] = str(home)
            for host in (route.source_host, route.destination_host):
                setting = ("--skip-check", "--req-concurrent", str(requests))
                regctl = str(program("regctl"))
                run([regctl, "registry", "set", host, *setting], env, 30)
        (image,) = images
        ends = [f"{host}/{image}" for host in (route.source_host, route.destination_host)]
        return run([str(program("regctl")), "image", "copy", *ends], env, _TIMEOUT)

    return copy


def _regsync(world: ImageWorld, route: Route, images: Sequence[Image]) -> Ended:
    config = _home(world) / "regsync.yaml"
    lines = ["version: 1", "defaults: {parallel: 8}", "sync:"]
    lines += [
        f"- {{source: '{route.source_host}/{image}', target: '{route.destination_host}/{image}',"
        " type: image}"
        for image in images
    ]
    config.write_text("\n".join(lines) + "\n")
    command = [str(program("regsync")), "once", "-c", str(config)]
    return run(command, world.rival_env, _TIMEOUT)


def _home(world: ImageWorld) -> Path:
    return Path(world.rival_env["HOME"])


_OF_A_CA: Final = ("--from-ca-file", "{ca}", "--to-ca-file", "{ca}")
_OF_CERTS: Final = ("--src-cert-dir", "{certs}", "--dest-cert-dir", "{certs}")

IMGCTL: Final = Tool(IMGCTL_NAME, "ours", _imgctl)
CRANE: Final = Tool("crane copy", "default", _one_by_one("crane", "copy"))
REGSYNC: Final = Tool("regsync once, parallel 8", "default", _regsync)

#: For one image.
RIVALS: Final = (
    CRANE,
    Tool("regctl image copy", "default", _regctl(0)),
    Tool("oras cp", "default", _one_by_one("oras", "cp", "--no-tty", after=_OF_A_CA)),
    Tool(
        "skopeo copy --all",
        "default",
        _one_by_one("skopeo", "copy", "--all", after=_OF_CERTS, prefix="docker://"),
    ),
    Tool("crane copy -j 16", "parallel", _one_by_one("crane", "copy", "-j", "16")),
    Tool("regctl, 16 requests a host", "parallel", _regctl(16)),
    Tool(
        "oras cp --concurrency 16",
        "parallel",
        _one_by_one("oras", "cp", "--no-tty", "--concurrency", "16", after=_OF_A_CA),
    ),
)

#: For many images.
FLEET_RIVALS: Final = (
    REGSYNC,
    Tool("crane copy, xargs -P8", "default", _xargs(8)),
    Tool("crane copy, a loop", "default", _one_by_one("crane", "copy")),
)


def versions() -> dict[str, str]:
    """Return what each program says of its version."""
    return programs.versions(
        {
            "docker-registry": ("--version",),
            "crane": ("version",),
            "regctl": ("version", "--format", "{{.VCSTag}}"),
            "regsync": ("version", "--format", "{{.VCSTag}}"),
            "oras": ("version",),
            "skopeo": ("--version",),
        }
    )


def check_programs() -> None:
    """Raise ProgramMissing unless every program of the benchmark is there."""
    for name in ("docker-registry", "toxiproxy-server", "ssh-keygen", "crane", "regctl"):
        program(name)
    for name in ("regsync", "oras", "skopeo"):
        program(name)
    if shutil.which("xargs") is None:
        raise RuntimeError("xargs is not installed")
