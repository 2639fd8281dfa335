"""Chooses what to look at, because looking at a file costs as much as copying it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import attrgetter
from typing import Final, TypeVar

from imgctl_backends.spa.lint.findings import Rule
from imgctl_backends.spa.lint.rules import Rules, extension, served_rules
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.pages import LARGEST, is_page, is_web_manifest

T = TypeVar("T")

#: Of pages and web manifests, and of the other entry points.
MOST_ENTRY_POINTS: Final = 200
MOST_OTHERS: Final = 100
#: Bytes of all pages together.
MOST_TO_READ: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read, what is only asked for its headers, and how many pages are not read.

    `sampled` has the rules that do not see every file they are about, and how many.
    """

    read: tuple[File, ...]
    ask: tuple[File, ...]
    unread: int
    sampled: Mapping[Rule, int]


def choose(files: Iterable[File], order: Order, *, thorough: bool) -> Choice:
    """Choose everything that a rule is about, or so much of it that nothing is missed.

    Those are the entry points, the site's root first, and a sample of the rest that has
    something of every kind of file in every folder. The same files make the same choice.
    """
    pages, points, others = list[File](), list[File](), list[File]()
    about = Counter[Rules]()
    for file in sorted(files, key=attrgetter("key")):
        wave = order.wave(file.key)
        rules = served_rules(file.key, wave)
        about[rules] += 1
        if wave.visible:
            (pages if _is_readable(file) else points).append(file)
        elif rules:
            others.append(file)
    if thorough:
        return Choice(tuple(pages), (*points, *others), 0, {})
    pages.sort(key=lambda file: (-order.wave(file.key), file.key.count("/")))
    sizes = accumulate(page.size for page in pages[:MOST_ENTRY_POINTS])
    most = sum(size <= MOST_TO_READ for size in sizes)
    read, unread = pages[:most], pages[most:]
    rest = [*unread, *points[MOST_ENTRY_POINTS:], *others]
    ask = [*points[:MOST_ENTRY_POINTS], *_sample(rest)]
    seen = Counter(served_rules(file.key, order.wave(file.key)) for file in (*read, *ask))
    sampled = _lacking(about, seen)
    if unread:
        sampled |= dict.fromkeys((Rule.MISSING_REFERENCE, Rule.CONTENT_ENCODING), len(read))
    return Choice(tuple(read), tuple(ask), len(unread), sampled)


def _is_readable(file: File) -> bool:
    return 0 < file.size <= LARGEST and (is_page(file.key) or is_web_manifest(file.key))


def _lacking(about: Mapping[Rules, int], seen: Mapping[Rules, int]) -> dict[Rule, int]:
    """Return how many files each rule sees that does not see all that it is about."""
    counts = {
        rule: [sum(n for rules, n in found.items() if rule in rules) for found in (about, seen)]
        for rule in Rule
    }
    return {rule: few for rule, (all_, few) in counts.items() if few < all_}


def _sample(files: Iterable[File]) -> list[File]:
    """Return files that are as unlike one another as can be.

    Tools that upload in parts above some size are known to lose headers there, so that
    is a kind of its own; S3 marks such files by a `-` in the entity tag.
    """
    groups: dict[tuple[str, bool], dict[str, list[File]]] = {}
    for file in files:
        folders = groups.setdefault((extension(file.key), "-" in file.etag), {})
        group = folders.setdefault(file.key.rpartition("/")[0], [])
        if len(group) < MOST_OTHERS:
            group.append(file)
    kinds = [list(folders.values()) for _, folders in sorted(groups.items())]
    return list(islice(_in_turn(list(_in_turn(kinds))), MOST_OTHERS))


def _in_turn(rows: Sequence[Sequence[T]]) -> Iterator[T]:
    """Yield the first of each row, then the second of each, and so on."""
    ranked = [(rank, item) for row in rows for rank, item in enumerate(row)]
    return (item for _, item in sorted(ranked, key=lambda pair: pair[0]))
