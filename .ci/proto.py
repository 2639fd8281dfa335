"""Generates the code for the wire contract, and tells whether it is stale.

    proto.py                  generate, and write the lock (run by `make proto`)
    proto.py --requirements   the tools that generating needs, one a line
    proto.py --check          say what is stale; needs no tool

Generated code carries a least version of its runtime, and older code runs on newer
runtimes but not the other way round: so we generate with the oldest tools that we want to
support. The lock holds the hash of the .proto, of every generated file and the tools'
versions, so that a test can tell stale code from fresh without any of the tools.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = Path("proto/imgctl/v1/imgctl.proto")
OUT = Path("imgctl_core/_proto")
LOCK = OUT / "proto.lock"
TOOLS = {"grpcio-tools": "1.74.0", "mypy-protobuf": "5.1.0"}
FILES = ("imgctl_pb2.py", "imgctl_pb2.pyi", "imgctl_pb2_grpc.py", "imgctl_pb2_grpc.pyi")

#: Generated with `-I proto`, so that the file's name in the descriptor is the one that
#: everybody gets who generates from proto/ (two names for one file can't live in one
#: process). The import of our own module must then be put right by hand.
_IMPORT = re.compile(r"^from imgctl\.v1 import imgctl_pb2", re.MULTILINE)


def generate(root: Path = ROOT) -> None:
    """Generate into `imgctl_core/_proto` and write the lock."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                "-Iproto",
                f"--plugin=protoc-gen-mypy={tools / 'protoc-gen-mypy'}",
                f"--plugin=protoc-gen-mypy_grpc={tools / 'protoc-gen-mypy_grpc'}",
                f"--python_out={folder}",
                f"--grpc_python_out={folder}",
                f"--mypy_out={folder}",
                f"--mypy_grpc_out={folder}",
                str(PROTO.relative_to("proto")),
            ],
            cwd=root,
            check=True,
        )
        for name in FILES:
            text = Path(folder, "imgctl/v1", name).read_text(encoding="utf-8")
            (root / OUT / name).write_text(corrected(text), encoding="utf-8")
    (root / LOCK).write_text(json.dumps(lock(root), indent=2) + "\n", encoding="utf-8")


def corrected(text: str) -> str:
    """Return generated code that imports our own module from where it lives."""
    return _IMPORT.sub("from imgctl_core._proto import imgctl_pb2", text)


def lock(root: Path = ROOT) -> dict[str, object]:
    """Return what the lock says when it is up to date."""
    return {
        "proto": _hash(root / PROTO),
        "tools": TOOLS,
        "generated": {name: _hash(root / OUT / name) for name in FILES},
    }


def stale(root: Path = ROOT) -> list[str]:
    """Return what differs from when the code was generated, empty when it is fresh."""
    recorded = json.loads((root / LOCK).read_text(encoding="utf-8"))
    problems = []
    if recorded["proto"] != _hash(root / PROTO):
        problems.append(f"{PROTO} has changed since code was generated from it")
    if recorded["tools"] != TOOLS:
        problems.append("the code was generated with other versions of the tools")
    hashes = recorded["generated"]
    changed = [name for name in FILES if hashes.get(name) != _hash(root / OUT / name)]
    return problems + [f"{OUT / name} is not as it was generated" for name in changed]


def _hash(path: Path) -> str:
    # Line endings are git's business: a checkout may have changed them.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def main(arguments: list[str]) -> int:
    if arguments == ["--requirements"]:
        sys.stdout.writelines(f"{name}=={version}\n" for name, version in TOOLS.items())
        return 0
    if arguments == ["--check"]:
        problems = stale()
        sys.stderr.writelines(f"{problem}: run `make proto`\n" for problem in problems)
        return 1 if problems else 0
    generate()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
