"""The generated code is fresh, imports on the floors of pyproject.toml, and is v1."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from imgctl_core._proto import imgctl_pb2

#: Every field that was ever released: message, name, number. Lines may be added, never
#: changed or removed: a number is a promise to every client ever built.
RELEASED = Path(__file__).with_name("released_fields.txt")


@pytest.fixture
def proto(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("proto")


@pytest.fixture
def copy(proto: ModuleType, root: Path, tmp_path: Path) -> Path:
    for name in (proto.PROTO, proto.LOCK, *(proto.OUT / name for name in proto.FILES)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def test_generated_code_is_fresh(proto: ModuleType) -> None:
    assert proto.stale() == [], "run `make proto`"


def test_changed_proto_is_noticed(proto: ModuleType, copy: Path) -> None:
    with (copy / proto.PROTO).open("a") as file:
        file.write("message New {}\n")
    assert proto.stale(copy) == [f"{proto.PROTO} has changed since code was generated from it"]


def test_edited_code_is_noticed(proto: ModuleType, copy: Path) -> None:
    with (copy / proto.OUT / "imgctl_pb2_grpc.py").open("a") as file:
        file.write("# edited\n")
    assert proto.stale(copy) == ["imgctl_core/_proto/imgctl_pb2_grpc.py is not as it was generated"]


def test_other_tools_are_noticed(
    proto: ModuleType, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(proto.TOOLS, "grpcio-tools", "1.99.0")
    assert proto.stale(copy) == ["the code was generated with other versions of the tools"]


def test_line_endings_of_the_checkout_do_not_matter(proto: ModuleType, copy: Path) -> None:
    path = copy / proto.PROTO
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert proto.stale(copy) == []


def floor(root: Path, name: str) -> Version:
    with (root / "pyproject.toml").open("rb") as file:
        lines = tomllib.load(file)["project"]["dependencies"]
    (requirement,) = [Requirement(line) for line in lines if Requirement(line).name == name]
    (least,) = [spec.version for spec in requirement.specifier if spec.operator == ">="]
    return Version(least)


def test_floor_of_grpcio_runs_the_generated_code(proto: ModuleType, root: Path) -> None:
    text = (root / proto.OUT / "imgctl_pb2_grpc.py").read_text()
    found = re.search(r"GRPC_GENERATED_VERSION = '([\d.]+)'", text)
    assert found is not None
    assert floor(root, "grpcio") >= Version(found[1])
    assert floor(root, "grpcio-status") >= Version(found[1])
    assert floor(root, "grpcio-health-checking") >= Version(found[1])


def test_floor_of_protobuf_runs_the_generated_code(proto: ModuleType, root: Path) -> None:
    text = (root / proto.OUT / "imgctl_pb2.py").read_text()
    found = re.search(r"# Protobuf Python Version: ([\d.]+)", text)
    assert found is not None
    assert floor(root, "protobuf") >= Version(found[1])


def test_file_has_the_name_that_everybody_else_generates() -> None:
    assert imgctl_pb2.DESCRIPTOR.name == "imgctl/v1/imgctl.proto"
    assert imgctl_pb2.DESCRIPTOR.package == "imgctl.v1"


def test_no_released_field_changed_its_number() -> None:
    now = set()
    for message in imgctl_pb2.DESCRIPTOR.message_types_by_name.values():
        now |= {f"{message.name}.{field.name} = {field.number}" for field in message.fields}
    for enum in imgctl_pb2.DESCRIPTOR.enum_types_by_name.values():
        now |= {f"{enum.name}.{value.name} = {value.number}" for value in enum.values}
    released = set(RELEASED.read_text().splitlines())
    assert released - now == set(), "a released field was changed or removed"
    assert now - released == set(), f"add these lines to {RELEASED.name}"
