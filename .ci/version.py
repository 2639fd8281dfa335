"""The version of what is being built, from git and from nothing else.

- On a commit tagged `vX.Y.Z`, with no change beside it: `X.Y.Z`.
- After it: `X.Y.(Z+1).devN`, N commits later. The next merge to main is released as that
  patch version, so a development build sorts before the release it leads to.
- Without such a tag in the history, or without `.git`: `0.0.0.dev0`.

There is no local part (`+g1234`): package indexes refuse one. A source distribution needs
none of this: its PKG-INFO names the version, and hatchling takes it from there.

As a program: prints the version, and with `--next` the tag of the next release.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = "0.0.0.dev0"
FIRST_RELEASE = (0, 1, 0)

_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)")

Release = tuple[int, int, int]


def version(root: Path = ROOT) -> str:
    """Return the version of the tree at `root`."""
    last = last_release(root)
    if last is None:
        return UNKNOWN
    commits = int(_git(root, "rev-list", "--count", f"{_tag(last)}..HEAD") or 0)
    changed = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    if not commits and not changed:
        return _text(last)
    return f"{_text(_next_patch(last))}.dev{commits}"


def next_tag(root: Path = ROOT) -> str:
    """Return the tag of the release that this commit is, or is to become."""
    last = last_release(root)
    if last is None:
        return _tag(FIRST_RELEASE)
    here = _git(root, "rev-list", "--count", f"{_tag(last)}..HEAD") == "0"
    return _tag(last if here else _next_patch(last))


def last_release(root: Path = ROOT) -> Release | None:
    """Return the highest release in the history of `root`, None when there is none."""
    if not (root / ".git").exists():  # else git would find a repository around this one
        return None
    tags = _git(root, "tag", "--merged", "HEAD", "--list", "v*")
    found = [match for line in tags.splitlines() if (match := _TAG.fullmatch(line))]
    releases = [(int(m[1]), int(m[2]), int(m[3])) for m in found]
    return max(releases, default=None)


def _next_patch(release: Release) -> Release:
    return (release[0], release[1], release[2] + 1)


def _text(release: Release) -> str:
    return ".".join(map(str, release))


def _tag(release: Release) -> str:
    return "v" + _text(release)


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints, empty when there is no git or it refuses."""
    # GIT_DIR and its kin point elsewhere when a git hook runs us.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    sys.stdout.write((next_tag() if sys.argv[1:] == ["--next"] else version()) + "\n")
