"""Which kind a reference is of, and what is said when it is of none or of two."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imgctl_core.context import Context
from imgctl_core.errors import (
    AmbiguousReference,
    InvalidReference,
    PluginUnavailable,
    UnknownKind,
)
from imgctl_core.models import ArtifactRef, Plan, PluginInfo, PluginStatus, PromotionItem
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import NoSettings, Promoter
from imgctl_core.resolve import Resolver


class _Parser(Promoter[NoSettings, NoSettings]):
    Endpoint = NoSettings
    Settings = NoSettings

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        raise AssertionError

    def stage(self, plan: Plan, context: Context) -> None: ...

    def publish(self, plan: Plan, context: Context) -> None: ...

    def verify(self, plan: Plan, context: Context) -> str:
        return ""


class _Image(_Parser):
    kind = "image"

    def parse(self, text: str) -> ArtifactRef:
        name, colon, version = text.partition(":")
        if not colon or ":" in version or "/" in version or not version:
            raise InvalidReference(f"{text!r} is no image")
        return ArtifactRef(self.kind, name, version)


class _Helm(_Parser):
    kind = "helm"

    def parse(self, text: str) -> ArtifactRef:
        if not text or " " in text:
            raise InvalidReference(f"{text!r} is no chart")
        return ArtifactRef(self.kind, text)


@pytest.fixture
def parse() -> Callable[[str], tuple[str, str]]:
    quarantined = PluginInfo(
        "broken", "imgctl-broken", "1.2", PluginStatus.QUARANTINED, phase="import", error="boom"
    )
    disabled = PluginInfo("off", "imgctl-off", "1.0", PluginStatus.DISABLED)
    registry = PluginRegistry({"image": _Image, "helm": _Helm}, {}, (quarantined, disabled))
    resolver = Resolver(
        {kind: cls(NoSettings(), {}) for kind, cls in registry.promoters.items()},
        registry,
        environments=(),
        allow_replace=(),
        default_source="",
    )

    def kind_and_ref(text: str) -> tuple[str, str]:
        promoter, ref = resolver.parse(text)
        assert promoter.kind == ref.kind
        return ref.kind, str(ref)

    return kind_and_ref


@pytest.mark.parametrize(
    ("text", "kind", "ref"),
    [
        ("myapp:v1", "image", "myapp:v1"),
        ("image:myapp:v1", "image", "myapp:v1"),
        ("image:helm:v1", "image", "helm:v1"),
        ("image::helm:v1", "image", "helm:v1"),
        ("image:v1", "image", "image:v1"),
        ("helm:charts/web:1.0", "helm", "charts/web:1.0"),
        ("helm::v1", "helm", "v1"),
        ("off:v1", "image", "off:v1"),
    ],
)
def test_kind(parse: Callable[[str], tuple[str, str]], text: str, kind: str, ref: str) -> None:
    assert parse(text) == (kind, ref)


def test_a_reference_of_two_kinds_names_both_spellings(
    parse: Callable[[str], tuple[str, str]],
) -> None:
    with pytest.raises(AmbiguousReference) as caught:
        parse("helm:v1")
    assert "helm::v1" in caught.value.fix
    assert "image:helm:v1" in caught.value.fix


@pytest.mark.parametrize("text", ["hlem:charts:1.0", "chart:a:b", "chart::v1"])
def test_an_unknown_kind(parse: Callable[[str], tuple[str, str]], text: str) -> None:
    with pytest.raises(UnknownKind) as caught:
        parse(text)
    assert "helm" in caught.value.fix


def test_a_quarantined_kind_is_named_with_its_reason(
    parse: Callable[[str], tuple[str, str]],
) -> None:
    with pytest.raises(PluginUnavailable, match=r"imgctl-broken 1\.2 is quarantined: import") as e:
        parse("broken:v1")
    assert "image:broken" in e.value.fix


def test_a_disabled_kind_is_named(parse: Callable[[str], tuple[str, str]]) -> None:
    with pytest.raises(PluginUnavailable, match="not in use"):
        parse("off::v1")


@pytest.mark.parametrize("text", ["myapp", "", "MyApp", "helm:a b/c", "a b:c/d"])
def test_what_is_no_reference_at_all(parse: Callable[[str], tuple[str, str]], text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


@pytest.mark.parametrize("text", ["localhost:5000/app:v1", "registry:443/app:v1"])
def test_a_host_with_a_port_is_no_kind(parse: Callable[[str], tuple[str, str]], text: str) -> None:
    """Only what reads image references can say what to do about hosts."""
    with pytest.raises(InvalidReference, match="no image"):
        parse(text)
