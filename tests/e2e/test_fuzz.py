"""A hundred thousand odd references, keys, names and ids: a typed refusal, and at once."""

from __future__ import annotations

import contextlib
import posixpath
import random
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from imgctl_backends.image.endpoint import ImageSettings
from imgctl_backends.image.promoter import ImagePromoter
from imgctl_backends.spa.endpoint import SpaSettings
from imgctl_backends.spa.promoter import SpaPromoter
from imgctl_backends.spa.references import Place, relative_key
from imgctl_core import validate
from imgctl_core.errors import (
    EndpointFailed,
    EnvironmentNotFound,
    ImgctlError,
    PromotionNotFound,
    RequestError,
)
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import Promoter
from imgctl_core.resolve import Resolver
from imgctl_core.text import is_plain

SLOWEST = 0.05
"""Seconds of processor time that one input may take."""

DIGEST = "sha256:" + "0a" * 32
PLACE = Place("source", "dev", "shop-dev", "v1/")

REFERENCES = (
    "myapp:v1.0.0", "team/app:v1", f"app@{DIGEST}", f"a/b-c__d.e:v1@{DIGEST}", "image:app:v1",
    "image::spa:v1", "spa:shop:1.4.2", "spa::shop:v1+b_2", "spa:shop", "localhost:8080/a:b",
    "169.254.169.254/latest/meta-data:x", "[::1]:22/x:1", "A/app", "helm:chart:1", "-:-", ":", "@",
)  # fmt: skip
KEYS = (
    "v1/index.html", "v1/assets/app.3f9a1c2e.js", "v1/a b/c+d", "v1/../v2/x", "v1/./x", "v1/", "v1",
    "v1/%2e%2e/x", "v1/..\\x", "v1//x", "v10/x", "v1/größe/日本.txt", "v1/.well-known/x",
)  # fmt: skip
NAMES = ("prod", "dev", "PROD", "my_env", "int-2", "", " prod ", "prdo")
IDS = ("cli-0a1b", "pr_01K3ZQ", "a" * 64, "A_b-9", "")

PIECES = (
    *":/@.-_+%\\?#[]*~ \t\n\r\0\x1b\x7f\x9b", "..", "../", "//", "::", "%2e", "%2F", "%00",
    "\u202e", "\u200b", "\u3164", "\ufe0f", "\udcff", "\U000e0061", "é", "e\u0301", "а", "ｐ",
    "。", "١", "🜁", "sha256:", DIGEST, "localhost", "127.0.0.1", "aaaaaaaa", "a-a-a-", "a.a.",
    "a__", "image:", "spa:",
)  # fmt: skip


def texts(seeds: tuple[str, ...], count: int, seed: int) -> Iterator[str]:
    """Yield the seeds, and then what becomes of them by a few changes each."""
    yield from seeds
    chance = random.Random(seed)
    for _ in range(count - len(seeds)):
        text = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 2, 3, 5))):
            text = _changed(text, chance, seeds)
        yield text


def _changed(text: str, chance: random.Random, seeds: tuple[str, ...]) -> str:
    at, other = chance.randint(0, len(text)), chance.randint(0, len(text))
    first, last = min(at, other), max(at, other)
    piece: str = chance.choice(PIECES)
    match chance.randrange(8):
        case 0 | 1 | 2:
            return text[:at] + piece + text[at:]
        case 3:
            return text[:first] + text[last:]
        case 4:
            return text[:first] + piece + text[last:]
        case 5:
            return text + chance.choice(seeds)
        case 6:
            return text[:first] + text[first:last] * chance.choice((2, 3, 9)) + text[last:]
        case _:
            # The shape that slow patterns are slow with: long, and wrong at the end.
            return text[:at] + piece * chance.choice((50, 300, 1500)) + "!"


def _seconds(call: Callable[[], Any]) -> float:
    """Return the processor time that a call takes, a refusal included."""
    begun = time.thread_time()
    with contextlib.suppress(ImgctlError):
        call()
    return time.thread_time() - begun


def judged(
    check: Callable[[str], Any],
    refusals: type[ImgctlError] | tuple[type[ImgctlError], ...],
    inputs: Iterator[str],
) -> Iterator[tuple[str, Any]]:
    """Yield what is accepted, and see to it that everything else is refused as it should be."""
    slow: list[str] = []
    for text in inputs:
        begun = time.thread_time()
        accepted, result = True, None
        try:
            result = check(text)
        except refusals as error:
            accepted = False
            told = error.message + error.fix
            assert is_plain(told), ascii(text)
            assert len(told) < 3000, ascii(text)
        if time.thread_time() - begun > SLOWEST:
            slow.append(text)
        if accepted:
            yield text, result
    # A slow pattern is slow again; a collection of garbage in between was not its fault.
    for text in slow:
        assert min(_seconds(lambda: check(text)) for _ in range(3)) < SLOWEST, ascii(text)  # noqa: B023


@pytest.fixture(scope="module")
def resolver() -> Resolver:
    promoters: dict[str, Promoter[Any, Any]] = {
        "image": ImagePromoter(ImageSettings(), {}),
        "spa": SpaPromoter(SpaSettings(), {}),
    }
    return Resolver(
        promoters,
        PluginRegistry({"image": ImagePromoter, "spa": SpaPromoter}, {}, ()),
        environments=("dev", "prod", "int-2"),
        allow_replace=(),
        default_source="",
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_references(resolver: Resolver, seed: int) -> None:
    accepted = 0
    for text, (promoter, ref) in judged(
        resolver.parse, RequestError, texts(REFERENCES, 20_000, seed)
    ):
        accepted += 1
        assert text.isascii()
        assert is_plain(text)
        assert promoter.kind == ref.kind
        assert promoter.parse(str(ref)) == ref
        first, slash, _ = ref.name.partition("/")
        assert ".." not in ref.name.split("/")
        assert not slash or not (set(first) & set(".:[") or first == "localhost"), text
        assert validate.reference(text) == text or len(text) > validate.MAX_REF
    assert accepted > 500


@pytest.mark.parametrize("seed", [1, 2])
def test_keys(seed: int) -> None:
    accepted = 0
    for key, relative in judged(
        lambda key: relative_key(key, PLACE), EndpointFailed, texts(KEYS, 15_000, seed)
    ):
        accepted += 1
        assert PLACE.prefix + relative == key
        key.encode("utf-8")
        # Whatever a server or a proxy makes of it, it stays where its version is.
        for seen in (key, unquote(key), key.replace("\\", "/"), unquote(key).replace("\\", "/")):
            assert (posixpath.normpath(seen) + "/").startswith("v1/"), ascii(key)
    assert accepted > 500


def test_environments(resolver: Resolver) -> None:
    def environment(text: str) -> str:
        return resolver.environment(validate.environment(text, "destination"))

    found = judged(environment, (RequestError, EnvironmentNotFound), texts(NAMES, 15_000, 3))
    assert {name for _, name in found} == {"dev", "prod", "int-2"}


@pytest.mark.parametrize(
    ("check", "refusal"),
    [(validate.request_id, RequestError), (validate.promotion_id, PromotionNotFound)],
)
def test_ids(check: Callable[[str], str], refusal: type[ImgctlError]) -> None:
    accepted = list(judged(check, refusal, texts(IDS, 7_500, 4)))
    assert len(accepted) > 50
    for text, same in accepted:
        assert text == same
        assert text.isascii()
        assert set("/.:% \n").isdisjoint(text)
