"""Bakes defaults for the command line into the wheel, when asked to.

`make build BAKE_SOURCE=dev BAKE_DESTINATION=prod …` sets IMGCTL_BAKE_SOURCE and so on for
the build. They end up in `imgctl_cli/_baked.py` inside the wheel, and nowhere else: not in
the source tree, not in the sdist, not in an editable install. With none of them set there
is no such file.

Only `make build` should set them. A cache of built wheels is keyed by the sdist, which is
the same whatever is baked, so an installer that builds for itself may bring back the
values of an earlier build (uv's cache does).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PREFIX = "IMGCTL_BAKE_"
NAMES = ("server", "source", "destination", "dex_url", "client_id", "client_secret", "audience")
TARGET = "imgctl_cli/_baked.py"


def baked(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the defaults to bake in. An empty variable is an unset one.

    Raises:
        ValueError: a variable with our prefix names nothing that can be baked in.
    """
    known = {PREFIX + name.upper(): name for name in NAMES}
    unknown = sorted(key for key in environ if key.startswith(PREFIX) and key not in known)
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: what can be baked in is {', '.join(known)}")
    return {name: environ[key] for key, name in known.items() if environ.get(key)}


def module_text(defaults: Mapping[str, str]) -> str:
    """Return the source of a module that holds the defaults and nothing that runs."""
    lines = [f"    {name!a}: {value!a}," for name, value in sorted(defaults.items())]
    return "\n".join(
        [
            '"""Defaults baked in when this wheel was built."""',
            "",
            "DEFAULTS: dict[str, str] = {",
            *lines,
            "}",
            "",
        ]
    )


class BakeHook(BuildHookInterface[BuilderConfig]):
    """Adds the module to a wheel that is being built for others."""

    #: Removed at the end of the build, and at the end of the process if the build fails.
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        defaults = baked(os.environ)
        if not defaults:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="imgctl-baked-")
        file = Path(self._folder.name, "baked.py")
        file.write_text(module_text(defaults), encoding="ascii")
        build_data["force_include"][str(file)] = TARGET
        self.app.display_info(f"Baked in: {', '.join(sorted(defaults))}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
