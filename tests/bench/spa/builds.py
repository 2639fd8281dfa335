"""SPA builds to copy: hashed assets and an index.html, put into a bucket by s5cmd."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.meters import run
from tests.bench.programs import program

FILE_BYTES: Final = 4096

_ASSET: Final = ("text/javascript", "public,max-age=31536000,immutable")
_ENTRY: Final = ("text/html; charset=utf-8", "no-cache")
_TIMEOUT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Build:
    """A version of a build: its name, and how many files it has."""

    version: str
    files: int

    @property
    def ref(self) -> str:
        return f"spa:shop:{self.version}"


def upload(build: Build, host: str, bucket: str, work: Path, env: Mapping[str, str]) -> None:
    """Put a build of random bytes into a bucket; no two files are the same."""
    assets = work / "assets"
    assets.mkdir(parents=True)
    for number in range(build.files - 1):
        content = os.urandom(FILE_BYTES)
        (assets / f"chunk-{number:05}.{content[:4].hex()}.js").write_bytes(content)
    index = work / "index.html"
    index.write_bytes(os.urandom(FILE_BYTES))
    target = f"s3://{bucket}/{build.version}"
    for path, to, (kind, cache) in (
        (f"{assets}/", f"{target}/assets/", _ASSET),
        (str(index), f"{target}/index.html", _ENTRY),
    ):
        put = ("cp", "--content-type", kind, "--cache-control", cache, path, to)
        command = [str(program("s5cmd")), "--log", "error", "--endpoint-url", f"http://{host}"]
        ended = run([*command, *put], env, _TIMEOUT)
        if ended.code:
            raise RuntimeError(f"nothing to copy was uploaded: {ended.output}")
    shutil.rmtree(work)
